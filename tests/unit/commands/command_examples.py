"""One text of every form in the table of commands, mostly on table T of database Sales."""

from __future__ import annotations

from client_examples import CLIENT_EXAMPLES
from data_examples import DATA_EXAMPLES
from follower_examples import FOLLOWER_EXAMPLES
from ingestion_examples import INGESTION_EXAMPLES
from refusal_examples import REFUSAL_EXAMPLES

from cluster.catalog.policy_kinds import POLICY_KINDS, Form, Scope

MAPPING = '\'[{"column":"a","Properties":{"Ordinal":"0"}}]\''
SUBJECTS = {
    Scope.CLUSTER: "cluster",
    Scope.DATABASE: "database Sales",
    Scope.TABLE: "table T",
    Scope.COLUMN: "column T.a",
}
POLICIES = {
    "auto_delete": '{"ExpiryDate":"2030-01-01"}',
    "encoding": '{"x":1}',
    "extent_tags_retention": '[{"TagPrefix":"drop-by:","RetentionPeriod":"1.00:00:00"}]',
    "ingestionbatching": "{}",
    "merge": "{}",
    "partitioning": '{"PartitionKeys":[]}',
    "retention": "{}",
    "rowstore": "{}",
    "sharding": "{}",
    "update": '[{"Source":"S","Query":"S"}]',
}
SETTINGS = {
    "caching": "hot = 7d",
    "row_level_security": "disable 'T'",
    "roworder": "(a asc)",
    **{kind: f"'{text}'" for kind, text in POLICIES.items()},
}

EXAMPLES = {
    "show databases": ".show databases",
    "show databases details": ".show databases (S*) details",
    "show databases identity": ".show databases identity",
    "show databases policies": ".show databases policies",
    "show databases datastats": ".show databases datastats",
    "show databases metadata": ".show databases metadata",
    "show database": ".show database",
    "show database details": ".show database verbose",
    "show database identity": ".show database identity",
    "show database policies": ".show database policies",
    "show database datastats": ".show database datastats",
    "show database metadata": ".show database metadata",
    "create database": ".create database New",
    "create database persist": ".create database New persist ('x')",
    "drop database": ".drop database Sales",
    "alter database prettyname": ".alter database Sales prettyname 'x'",
    "drop database prettyname": ".drop database Sales prettyname",
    "attach database": ".attach database New from 'x'",
    "detach database": ".detach database Sales",
    "alter database persist metadata": ".alter database Sales persist metadata",
    "set access": ".set access Sales to readonly",
    "show database schema": ".show database Sales schema details",
    "show databases schema": ".show databases (Sales if_later_than 'v1.0') schema",
    "show cluster schema": ".show schema",
    "show database schema as json": ".show database schema as json",
    "show databases schema as json": ".show databases (Sales) schema as json with (Tables=true)",
    "show cluster schema as json": ".show cluster schema as json",
    "show database schema as csl": ".show database Sales schema as csl script",
    "show database cslschema": ".show database cslschema",
    "show databases entities": ".show databases entities",
    "show database entity": ".show database Sales entity T",
    "show database schema violations": ".show database Sales schema violations",
    "show entity schema": ".show entity T schema as json",
    "create table": ".create table New (a:long)",
    "create tables": ".create tables New (a:long), Other (b:int)",
    "define table": ".define table New (a:long)",
    "define tables": ".define tables New (a:long), Other (b:int)",
    "create-merge table": ".create-merge table T (z:long)",
    "create-merge tables": ".create-merge tables T (z:long), New (a:int)",
    "create table based-on": ".create table New based-on T",
    "alter table": ".alter table T (z:long)",
    "alter-merge table": ".alter-merge table T (z:long)",
    "alter table docstring": ".alter table T docstring 'x'",
    "alter table folder": ".alter table T folder 'x'",
    "rename table": ".rename table T to U",
    "rename tables": ".rename tables U=T",
    "drop table": ".drop table T",
    "drop tables": ".drop tables (T, U) ifexists",
    "undo drop table": '.undo drop table T version="v1.1"',
    "show tables": ".show tables",
    "show tables details": ".show tables (T) details",
    "show table": ".show table T",
    "show table details": ".show table T details",
    "show table cslschema": ".show table T cslschema",
    "show table schema as json": ".show table T schema as json",
    "alter column type": ".alter column T.a type=string",
    "rename column": ".rename column T.a to z",
    "rename columns": ".rename columns a = T.b, b = T.a",
    "drop column": ".drop column T.a",
    "drop table columns": ".drop table T columns (a)",
    "alter table column-docstrings": ".alter table T column-docstrings (a:'x')",
    "alter-merge table column-docstrings": ".alter-merge table T column-docstrings (a:'x')",
    "show table policy streamingingestion": ".show table T policy streamingingestion",
    "show database policy streamingingestion": ".show database policy streamingingestion",
    "show cluster policy streamingingestion": ".show cluster policy streamingingestion",
    "alter table policy streamingingestion": ".alter table T policy streamingingestion disable",
    "alter database policy streamingingestion": ".alter database policy streamingingestion disable",
    "alter-merge table policy streamingingestion": (
        ".alter-merge table Sales.T policy streamingingestion '{}'"
    ),
    "alter-merge database policy streamingingestion": (
        ".alter-merge database SALES policy streamingingestion '{}'"
    ),
    "delete table policy streamingingestion": ".delete table T policy streamingingestion",
    "delete database policy streamingingestion": ".delete database Sales policy streamingingestion",
    "alter cluster policy streamingingestion": ".alter cluster policy streamingingestion enable",
    "delete cluster policy streamingingestion": ".delete cluster policy streamingingestion",
    "alter columns policy encoding": ".alter table T columns policy encoding '{}'",
    "alter column policy encoding type": ".alter column T.a policy encoding type='Identifier'",
    "policies of retention": ".delete policies of retention ('T')",
    **{
        f"policy {kind}": f".show table * policy {kind}"
        for kind in ("mirroring", "rowid", "query_acceleration")
    },
    **{
        f"policy {kind}": f".show cluster policy {kind}"
        for kind in (
            "sandbox",
            "callout",
            "capacity",
            "request_classification",
            "multidatabaseadmins",
            "diagnostics",
            "query_weak_consistency",
            "managed_identity",
            "shards_grouping",
        )
    },
    **{
        f"{verb} {entity} mapping": f".{verb} {entity} {name} ingestion csv mapping 'M' {rest}"
        for entity, name in (("table", "T"), ("database", "Sales"))
        for verb, rest in (
            ("create", MAPPING),
            ("create-or-alter", MAPPING),
            ("alter", MAPPING),
            ("alter-merge", MAPPING),
            ("drop", ""),
            ("show", ""),
        )
    },
    "show table mappings": ".show table T ingestion mappings",
    "show database mappings": ".show database ingestion json mappings",
    "show mappings": ".show cluster ingestion mappings",
    "azmonstream mapping": f".create table T ingestion azmonstream mapping 'M' {MAPPING}",
    "show functions": ".show functions",
    "show function": ".show function F",
    "show function schema as json": ".show function F schema as json",
    "create function": ".create function G() { T | take 1 }",
    "create-or-alter function": ".create-or-alter function G(x:long) { T | where a == x }",
    "alter function": ".alter function F() { T }",
    "alter function docstring": ".alter function F docstring 'x'",
    "alter function folder": ".alter function F folder 'x'",
    "drop function": ".drop function F",
    "drop functions": ".drop functions (F, G) ifexists",
    "clear table cache": ".clear table T cache streamingingestion schema",
    "clear database cache": ".clear database cache streamingingestion schema",
    "show cluster": ".show cluster",
    "show version": ".show version",
    "show journal": ".show journal",
    "show database journal": ".show database Sales journal",
    "show cluster journal": ".show cluster journal",
    "principals": ".add function F admins ('aaduser=x')",
    "cluster principals": ".add cluster databasecreators ('aaduser=x')",
    "show principals": ".show function F principals",
    **FOLLOWER_EXAMPLES,
    "materialized-view": ".create async materialized-view V on table T { T | count }",
    "show materialized-views": ".show materialized-views",
    "external table": ".show external tables",
    "export": ".export to csv ('x') <| T",
    "continuous-export": ".show continuous-exports",
    "entity_group": ".show entity_groups",
    "workload_group": ".show workload_groups",
    "graph_model": ".show graph_models",
    "stored_query_result": ".set stored_query_result R <| T",
    "purge": ".purge table T records in database Sales <| where a == 1",
    "delete table records": ".delete async table T records <| T",
}


def _policy_examples():
    for kind in POLICY_KINDS.values():
        setting = "true" if kind.form is Form.FLAG else SETTINGS[kind.name]
        for scope in kind.scopes:
            subject, name = SUBJECTS[scope], scope.value.lower()
            yield f"show {name} policy {kind.name}", f".show {subject} policy {kind.name}"
            yield (
                f"alter {name} policy {kind.name}",
                f".alter {subject} policy {kind.name} {setting}",
            )
            yield f"delete {name} policy {kind.name}", f".delete {subject} policy {kind.name}"
            if scope is Scope.TABLE:
                yield (
                    f"alter tables policy {kind.name}",
                    f".alter tables (T) policy {kind.name} {setting}",
                )
            if kind.can_merge:
                yield (
                    f"alter-merge {name} policy {kind.name}",
                    f".alter-merge {subject} policy {kind.name} {setting}",
                )


EXAMPLES.update(_policy_examples())
EXAMPLES.update(DATA_EXAMPLES)
EXAMPLES.update(INGESTION_EXAMPLES)
EXAMPLES.update(CLIENT_EXAMPLES)
EXAMPLES.update(REFUSAL_EXAMPLES)
EXAMPLES["alter-merge table policy roworder"] = ".alter-merge table T policy roworder (['b c'] asc)"
