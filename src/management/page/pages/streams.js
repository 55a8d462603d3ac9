// Streams with their offsets, segments and times.

import { bytes, count, dateTime } from "../lib/format.js";
import { el } from "../lib/dom.js";
import { List } from "../parts/list.js";
import { queueLink, scoped, vhostColumn } from "../parts/names.js";
import { head } from "../parts/page.js";
import { numbers } from "../parts/table.js";

export async function streams(view) {
  const list = new List(view, {
    caption: "Streams", url: scoped("leveret/streams"), key: ({ vhost, name }) => JSON.stringify([vhost, name]), empty: "There are no streams.", sort: "name",
    columns: [
      { title: "Name", value: ({ vhost, name }) => [vhost, name], sort: "name", kind: "name", cell: ({ vhost, name }) => queueLink(vhost, name) },
      ...vhostColumn(),
      numbers("Messages", (row) => row.messages, count, { sort: "messages" }),
      numbers("Size", (row) => row.bytes, bytes, { sort: "bytes" }),
      numbers("Segments", (row) => row.segments, count, { sort: "segments", narrow: false }),
      numbers("First offset", (row) => row.first_offset, count, { sort: "first_offset" }),
      numbers("Next offset", (row) => row.next_offset, count, { sort: "next_offset" }),
      { title: "Oldest message", value: (row) => row.oldest_timestamp, sort: "oldest_timestamp", narrow: false, cell: (row) => dateTime(row.oldest_timestamp) },
      { title: "Newest message", value: (row) => row.newest_timestamp, sort: "newest_timestamp", narrow: false, cell: (row) => dateTime(row.newest_timestamp) },
      numbers("Consumers", (row) => row.consumers, count, { sort: "consumers" }),
    ],
  });
  view.show(head("Streams"), el("div", { class: "panel" }, list.element));
  await view.keep((signal) => list.load(signal));
}
