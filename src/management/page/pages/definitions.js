// Export and import of definitions: everything declared, without messages.

import { get, post } from "../lib/api.js";
import { el } from "../lib/dom.js";
import { openDialog } from "../parts/dialog.js";
import { form } from "../parts/form.js";
import { knownVhosts } from "../parts/names.js";
import { toast } from "../parts/notice.js";
import { head, panel } from "../parts/page.js";
import { Table } from "../parts/table.js";

const WHOLE = "";

export async function definitions(view) {
  const scope = (label) => ({ name: "scope", label, kind: "select", options: [[WHOLE, "Everything"], ...knownVhosts().map((name) => [JSON.stringify(name), `Virtual host ${name}`])] });
  view.show(head("Definitions"), el("p", { class: "muted" }, "Users, virtual hosts, permissions, policies, parameters, queues, exchanges and bindings, in RabbitMQ's format. Messages are not part of them."),
    el("div", { class: "grid two" },
      panel("Export", form({ fields: [scope("What")], submit: "Download", keep: true, onsubmit: ({ scope: chosen }) => view.act(null, () => download(chosen)) })),
      panel("Import", form({
        fields: [scope("Into"), { name: "file", label: "File", kind: "file", required: true, accept: "application/json,.json", hint: "What exists already stays; equal names are overwritten or refused as a declaration would be." }],
        submit: "Import", onsubmit: ({ scope: chosen, file }) => view.act(null, () => upload(chosen, file)),
      }))));
}

const url = (scope) => (scope === WHOLE ? "/api/definitions" : `/api/definitions/${encodeURIComponent(JSON.parse(scope))}`);

async function download(scope) {
  const all = await get(url(scope));
  const address = URL.createObjectURL(new Blob([JSON.stringify(all, null, 2)], { type: "application/json" }));
  const name = `definitions-${new Date().toISOString().slice(0, 10)}.json`;
  el("a", { href: address, download: name }).click();
  URL.revokeObjectURL(address);
  toast(`Downloaded as ${name}.`);
}

async function upload(scope, file) {
  const text = await file.text();
  try {
    JSON.parse(text);
  } catch {
    throw new Error("The file is not JSON.");
  }
  const answer = await post(url(scope), text);
  toast("The definitions are imported.");
  if (answer?.not_imported?.length > 0) showLeftOut(answer.not_imported);
}

function showLeftOut(list) {
  const table = new Table({ caption: "Not imported", columns: LEFT_OUT, key: (row) => JSON.stringify(row), empty: "" });
  table.update(list);
  openDialog("Imported, but for these", table.element);
}

const LEFT_OUT = [
  { title: "Definition", value: (row) => [row.category, row.name], kind: "name", cell: ({ category, name }) => `${category} ${name ?? ""}` },
  { title: "Virtual host", value: ({ vhost }) => vhost ?? "–", kind: "name" },
  { title: "Reason", value: ({ reason }) => reason, kind: "wrap" },
];
