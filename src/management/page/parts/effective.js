// What holds for a queue: each value with the source it comes from.

import { bytes, duration, plain } from "../lib/format.js";
import { el } from "../lib/dom.js";
import { href } from "../lib/router.js";
import { tag } from "./page.js";
import { Table } from "./table.js";

export function effectiveTable() {
  const table = new Table({ caption: "Effective arguments", columns: COLUMNS, key: ({ name }) => name, empty: "Only defaults hold." });
  return { element: table.element, show: (one, own) => table.update(own === null ? fromRabbit(one) : own.effective_arguments) };
}

const COLUMNS = [
  { title: "Argument", value: ({ name }) => name, cell: ({ name }) => el("code", {}, name) },
  { title: "Value", value: ({ value }) => value, kind: "name", cell: ({ name, value }) => el("span", {}, el("code", {}, plain(value)), meaning(name, value)) },
  { title: "From", value: (row) => [row.source, row.policy], kind: "name", cell: source },
];

/** Milliseconds and bytes in larger units. */
function meaning(name, value) {
  if (typeof value !== "number") return null;
  const text = /ttl|expires|timeout|retry-m/.test(name) ? duration(value) : /bytes/.test(name) ? bytes(value) : null;
  return text && el("small", {}, ` ${text}`);
}

function source({ source: from, policy }) {
  return el("span", {}, tag(from, from.includes("policy") ? "accent" : ""), policy ? el("a", { href: href("policies") }, policy) : null);
}

/** RabbitMQ names no sources: its declared arguments, and what its policies add. */
function fromRabbit({ arguments: declared = {}, effective_policy_definition: policies = {} }) {
  return [
    ...Object.entries(declared).map(([name, value]) => ({ name, value, source: "argument" })),
    ...Object.entries(policies).map(([name, value]) => ({ name, value, source: "policy" })),
  ];
}
