// Limits of a user or a virtual host.

import { put, remove } from "../lib/api.js";
import { count } from "../lib/format.js";
import { formDialog } from "./form.js";
import { button, tablePanel } from "./page.js";
import { actions, Table } from "./table.js";

/** @param url where the API keeps them, without the name; `names` are `[name, title]` */
export function limitTable(view, url, names) {
  const table = new Table({
    caption: "Limits", empty: "No limits are set.", key: ({ name }) => name,
    columns: [
      { title: "Limit", value: ({ title }) => title },
      { title: "Value", value: ({ value }) => value, kind: "number", cell: ({ value }) => (value < 0 ? "none" : count(value)) },
      actions(({ name }) => button("Clear", () => view.act("The limit is cleared.", () => remove(`${url}/${name}`)), "danger")),
    ],
  });
  const set = () => formDialog("Set a limit", {
    submit: "Set the limit",
    fields: [
      { name: "name", label: "Limit", kind: "select", options: names },
      { name: "value", label: "Value", kind: "number", required: true, hint: "0 allows none; a negative number removes the limit." },
    ],
    onsubmit: ({ name, value }) => view.act("The limit is set.", () => put(`${url}/${name}`, { value })),
  });
  return {
    element: tablePanel("Limits", table, button("Set a limit", set)),
    update(limits) {
      table.update(names.filter(([name]) => limits[name] !== undefined).map(([name, title]) => ({ name, title, value: limits[name] })));
    },
  };
}
