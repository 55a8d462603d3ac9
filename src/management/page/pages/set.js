// The set of nodes: who leads, how far each member is, and what is missing.

import { ApiError, get } from "../lib/api.js";
import { el } from "../lib/dom.js";
import { bytes, count, duration } from "../lib/format.js";
import { facts, head, panel, Slot, tablePanel, tag } from "../parts/page.js";
import { numbers, Table } from "../parts/table.js";

const ALONE = "This node runs by itself. Three nodes that are started with --cluster-listen hold everything three times.";

export async function set(view) {
  const advice = new Slot();
  const about = new Slot();
  const members = new Table({ caption: "Nodes of the set", columns: COLUMNS, key: ({ id }) => id, empty: "No node is known yet." });
  view.show(head("Set of nodes"), advice.element, el("div", { class: "grid" }, panel("Set", about.element), tablePanel("Nodes", members)));
  let isAlone = false;
  await view.keep(async (signal) => {
    if (isAlone) return;
    const one = await ofThisNode(signal);
    isAlone = one === null;
    if (isAlone) return view.show(head("Set of nodes"), el("div", { class: "notice" }, ALONE));
    advice.update(one.advice, (text) => (text ? el("div", { class: "notice danger" }, text) : []));
    about.update(factsOf(one), facts);
    members.update(one.members.map((member) => ({ ...member, term: one.term })));
  });
}

/** The set; null if the node runs by itself. */
async function ofThisNode(signal) {
  try {
    return await get("/api/leveret/set", { signal });
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return null;
    throw error;
  }
}

const COLUMNS = [
  { title: "Name", value: ({ name }) => name, kind: "name" },
  { title: "Role", value: ({ role, running }) => [role, running], cell: ({ role, running }) => (running ? tag(role, role === "leader" ? "good" : "") : tag("not heard", "danger", `was ${role}`)) },
  numbers("Entries behind", ({ lag }) => lag, count),
  { title: "Last contact", value: ({ unheard_ms: ms }) => contact(ms), kind: "number" },
  { title: "Address", value: ({ address }) => address, narrow: false },
  { title: "Version", value: ({ version }) => version ?? "–", narrow: false },
  numbers("Memory", ({ mem_used: used }) => used, bytes, { narrow: false }),
  numbers("Free disk", ({ disk_free: free }) => free, bytes, { narrow: false }),
];

/** Rounded, so that a row does not change at each refresh. */
function contact(ms) {
  if (ms === null || ms === undefined) return "–";
  return ms < 1000 ? "now" : `${duration(Math.floor(ms / 1000) * 1000)} ago`;
}

function factsOf({ leader, term, elections, last_index: last, committed, applied, id }) {
  return [
    ["Leader", leader ?? "none"],
    ["Term", count(term)],
    ["Changes of leader since this node's start", count(elections)],
    ["Last entry", `${count(last)}; a majority has ${count(committed)}, and ${count(applied)} are applied here`],
    ["Set", id ?? "none yet"],
  ];
}
