// What one can do to a whole queue: purge, delete, rewind.

import { path, post, remove } from "../lib/api.js";
import { go } from "../lib/router.js";
import { askFirst } from "../parts/dialog.js";
import { formDialog } from "../parts/form.js";

export function purge(view, { vhost, name }) {
  askFirst("Purge the queue", `All ready messages of "${name}" will be gone. Unacked ones stay.`, "Purge",
    () => view.act("The queue is purged.", () => remove(path`/api/queues/${vhost}/${name}/contents`)));
}

export function deleteQueue(view, { vhost, name }) {
  formDialog("Delete the queue", {
    submit: "Delete the queue", danger: true,
    fields: [
      { name: "if-empty", label: "Only if it is empty", kind: "check" },
      { name: "if-unused", label: "Only if it has no consumers", kind: "check" },
    ],
    onsubmit: (only) => view.act("The queue is deleted.", async () => {
      const query = Object.fromEntries(Object.entries(only).filter(([, set]) => set).map(([key]) => [key, "true"]));
      await remove(path`/api/queues/${vhost}/${name}`, { query });
      go("queues");
    }),
  }, `Queue "${name}", its messages and its bindings will be gone.`);
}

export function rewind(view, { vhost, name }) {
  formDialog("Rewind the queue", {
    submit: "Rewind", pairs: true,
    fields: [
      { name: "minutes", label: "Back by minutes", kind: "number", min: 0, step: "any", value: 5, hint: "Acked messages of this time become ready again, as far as the queue keeps them (rewind-seconds)." },
    ],
    onsubmit: ({ minutes }) => view.act("The queue is rewound.", () => post(path`/api/leveret/queues/${vhost}/${name}/rewind`, { to: Date.now() - (minutes ?? 0) * 60_000 })),
  });
}
