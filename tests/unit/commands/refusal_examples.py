"""One text of every form about the inside of Microsoft's service, all of which are refused."""

from __future__ import annotations

ID = "11111111-1111-1111-1111-111111111111"

REFUSAL_EXAMPLES = {
    "cluster information": ".show memory",
    "cluster internals": ".show cluster network 1",
    "fabric service": ".drop fabric service 'x' assignments",
    "plugins": ".enable plugin 'python'",
    "request_support": ".create request_support",
    "queryexecution": ".show queryexecution <| T",
    "blockedprincipals": ".show cluster blockedprincipals",
    "storage keys": ".alter database Sales storage keys decryption-certificate-thumbprint 'x'",
    "show storage keys": ".show cluster storage keys hash",
    "keyvault secrets": ".show database keyvault secrets",
    "replace keyvaultsecrets": ".replace database keyvaultsecrets N",
    "clear cluster cache": ".clear cluster cache credstore",
    "clear remote schema": ".clear cache remote-schema cluster('x').database('y')",
    "clear query_weak_consistency": ".clear database cache query_weak_consistency",
    "management groups": ".show databases management groups",
    "storage artifacts": ".show database data storage artifacts cleanup state",
    "clean databases": ".clean databases async (Sales) extentcontainers",
    "extentcontainers of a database": ".show database Sales extentcontainers clean operations",
    "storedqueryresultcontainers": ".drop unused storedqueryresultcontainers Sales",
    "drop tempstorage": ".drop tempstorage older 1d",
    "mirroring-template": ".show mirroring-templates",
    "mirroring operations": ".show table * operations mirroring-status",
    "shard-groups of a table": ".show table T shard-groups statistics",
    "shard-groups": ".merge database shard-groups",
    "show extent": f".show T extent details {ID}",
    "corrupted datetime": ".patch table T extents corrupted datetime",
    "column statistics": ".show table T column statistics",
    "columns classification": ".show table T columns classification",
    "freshness": ".show freshness T column a threshold 1d",
    "retention violations": ".show database Sales policy softretention violations",
    "policy encoding of a database": ".alter database Sales policy encoding '{}'",
    "alter-merge policy encoding": ".alter-merge column T.a policy encoding '{}'",
    "update table": ".update table T delete D append A <| T",
    "purge of a database": ".show database Sales purge operations",
    "show azmonstream mappings": ".show ingestion azmonstream mappings",
    "show cluster policy sharding properties": ".show cluster policy sharding with (a = 1)",
}
