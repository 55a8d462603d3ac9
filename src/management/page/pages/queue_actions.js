// What one can do to a whole queue: purge, delete, move its messages, rewind.

import { path, post, remove } from "../lib/api.js";
import { count } from "../lib/format.js";
import { askFirst } from "../parts/dialog.js";
import { formDialog } from "../parts/form.js";
import { toast } from "../parts/notice.js";

/** What the form of a rewind proposes. */
const MINUTES_BACK = 5;

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
      view.leave("queues");
    }),
  }, `Queue "${name}", its messages and its bindings will be gone.`);
}

export function rewind(view, { vhost, name }) {
  formDialog("Rewind the queue", {
    submit: "Rewind", pairs: true,
    fields: [
      { name: "time", label: "To this time", kind: "datetime-local", step: 1, value: localTime(Date.now() - MINUTES_BACK * 60_000) },
      { name: "offset", label: "Or to this offset", kind: "number", min: 0, hint: "If it is set, the time does not count. Deliveries name their offset in x-offset." },
    ],
    onsubmit: ({ time, offset }) => view.act(null, async () => {
      const to = offset === undefined ? `${new Date(time).getTime()}ms` : String(offset);
      const { rewound } = await post(path`/api/leveret/queues/${vhost}/${name}/rewind`, { to });
      toast(`${count(rewound)} messages are ready again.`);
    }),
  }, "Acked messages from there on become ready again, as far as the queue retains them (rewind-seconds).");
}

export function moveMessages(view, { vhost, name }) {
  formDialog("Move the messages", {
    submit: "Move",
    fields: [{ name: "to", label: "To the queue", required: true, hint: "A queue of the same virtual host." }],
    onsubmit: ({ to }) => view.act(null, async () => {
      const { moved, is_full: isFull } = await post(path`/api/leveret/queues/${vhost}/${name}/move`, { to });
      toast(isFull ? `${count(moved)} messages were moved; the other queue is full.` : `${count(moved)} messages were moved.`);
    }),
  }, `All ready messages of "${name}" go to the end of the other queue, in their order. Unacked ones stay.`);
}

/** The text of a `datetime-local` input, which knows no time zone. */
function localTime(milliseconds) {
  return new Date(milliseconds).toLocaleString("sv").replace(" ", "T");
}
