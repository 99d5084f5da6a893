"""``remora certs``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from cluster.cli.options import AsJson, home_folder
from cluster.cli.output import print_json
from cluster.cli.running import fail

if TYPE_CHECKING:
    from cluster.gateway.identity.certificates import TlsFiles

Names = Annotated[
    list[str] | None,
    typer.Option(
        "--names",
        metavar="NAME,...",
        envvar="REMORA_CERTS_NAMES",
        help="Host names and addresses to add to the certificate, besides those of loopback; "
        "'service' stands for the names of the service itself. May be repeated.",
    ),
]
PrintTrust = Annotated[
    bool,
    typer.Option(
        "--print-trust",
        envvar="REMORA_CERTS_PRINT_TRUST",
        help="Print nothing but the commands that make clients trust the authority.",
    ),
]

SERVICE: Final = "service"


def certs(names: Names = None, print_trust: PrintTrust = False, as_json: AsJson = False) -> None:
    """Makes the private authority and the certificate of remora up --tls, or renews them.

    Says how clients of each language come to trust it. Nothing is added to the system's trust.
    """
    import datetime

    from cluster.errors import RemoraError
    from cluster.gateway.identity.certificates import (
        TRANSPARENT_NAMES,
        certificate_names,
        ensure_certificates,
    )
    from cluster.launcher.links import TLS_FOLDER

    wanted: list[str] = []
    for given in names or []:
        for name in filter(None, (part.strip() for part in given.split(","))):
            wanted += TRANSPARENT_NAMES if name == SERVICE else [name]
    try:
        now = datetime.datetime.now(datetime.UTC)
        files = ensure_certificates(home_folder() / TLS_FOLDER, now, wanted)
        present = certificate_names(files)
    except RemoraError as error:
        fail(error)
    if as_json:
        print_json(
            {
                "authority": str(files.authority),
                "certificate": str(files.certificate),
                "key": str(files.key),
                "trust": str(files.trust),
                "names": list(present),
                "trust_commands": trust_commands(files),
            }
        )
        return
    if not print_trust:
        typer.echo(f"authority:   {files.authority}\ncertificate: {files.certificate}")
        typer.echo(f"names:       {', '.join(present)}\n\nTo trust it:")
    for language, command in trust_commands(files).items():
        typer.echo(f"# {language}\n{command}")


def trust_commands(files: TlsFiles) -> dict[str, str]:
    """What to run, by language. Nothing of it changes what else the system trusts."""
    keystore = files.folder / "truststore.p12"
    return {
        "Python": (f"export REQUESTS_CA_BUNDLE={files.trust} SSL_CERT_FILE={files.trust}"),
        "Node": f"export NODE_EXTRA_CA_CERTS={files.authority}",
        "Go": f"export SSL_CERT_FILE={files.trust}",
        "Java": (
            f"keytool -importcert -noprompt -alias remora -file {files.authority} "
            f"-keystore {keystore} -storetype PKCS12 -storepass changeit && "
            f'export JAVA_TOOL_OPTIONS="-Djavax.net.ssl.trustStore={keystore} '
            '-Djavax.net.ssl.trustStorePassword=changeit"'
        ),
        ".NET": f"export SSL_CERT_FILE={files.trust}",
        "curl": f"curl --cacert {files.authority} https://localhost:PORT/v1/rest/ping",
        "grpcurl": f"grpcurl -cacert {files.authority} localhost:PORT list",
    }
