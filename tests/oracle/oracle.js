// Parses and binds queries with Microsoft's own language service.
// In: {"tables": {database: {table: "(a:long, ...)"}}, "database": name, "queries": [...]} on stdin.
// Out: one JSON list: {"errors": [{"code", "message", "start"}], "columns": [[name, type]] or null}.
"use strict";

require("@kusto/language-service-next/bridge.min.js");
require("@kusto/language-service-next/Kusto.Language.Bridge.min.js");

const { KustoCode, GlobalState } = Kusto.Language;
const { TableSymbol, DatabaseSymbol, ClusterSymbol } = Kusto.Language.Symbols;

function list(items) {
  const result = [];
  for (let i = 0; i < items.Count; i++) result.push(items.getItem(i));
  return result;
}

function state(asked) {
  const databases = Object.entries(asked.tables).map(
    ([name, tables]) =>
      new DatabaseSymbol.$ctor3(
        name,
        null,
        Object.entries(tables).map(([table, columns]) => new TableSymbol.$ctor7(table, columns, null)),
        false,
      ),
  );
  const cluster = new ClusterSymbol.$ctor1("own", databases, false);
  const own = databases.find((database) => database.Name === asked.database);
  return GlobalState.Default.WithCluster(cluster).WithDatabase(own);
}

function answer(query, globals) {
  const code = KustoCode.ParseAndAnalyze(query, globals);
  const errors = list(code.GetDiagnostics())
    .filter((one) => one.Severity === "Error")
    .map((one) => ({ code: one.Code, message: one.Message, start: one.Start }));
  const type = code.ResultType;
  const columns =
    type && type.Columns
      ? list(type.Columns).map((column) => [column.Name, column.Type.Name])
      : type
        ? [["", type.Name]]
        : null;
  return { errors, columns };
}

let text = "";
process.stdin.on("data", (piece) => (text += piece));
process.stdin.on("end", () => {
  const asked = JSON.parse(text);
  const globals = state(asked);
  process.stdout.write(JSON.stringify(asked.queries.map((query) => answer(query, globals))));
});
