// Names as links to their pages, and the addresses of lists for the chosen virtual host.

import { path } from "../lib/api.js";
import { el } from "../lib/dom.js";
import { exchangeName } from "../lib/format.js";
import { href } from "../lib/router.js";
import { vhost } from "../lib/settings.js";

/** The default exchange has no name; the API calls it `amq.default` in paths. */
export const exchangePart = (name) => (name === "" ? "amq.default" : name);

export const queueLink = (host, name) => el("a", { href: href("queues", host, name) }, name);
export const exchangeLink = (host, name) => el("a", { href: href("exchanges", host, exchangePart(name)) }, exchangeName(name));
export const connectionLink = (name) => el("a", { href: href("connections", name) }, name);
export const channelLink = (name, text = name) => el("a", { href: href("channels", name) }, text);

/** `/api/queues`, or `/api/queues/{vhost}` when one is chosen. */
export const scoped = (list) => () => (vhost() === null ? `/api/${list}` : `/api/${list}/${encodeURIComponent(vhost())}`);

/** `/api/connections`, or `/api/vhosts/{vhost}/connections`. */
export const scopedUnderVhost = (list) => () => (vhost() === null ? `/api/${list}` : path`/api/vhosts/${vhost()}/` + list);

/** The column of virtual hosts is there only while all of them are listed. */
export const vhostColumn = () => (vhost() === null ? [{ title: "Virtual host", value: (row) => row.vhost, sort: "vhost", kind: "name", narrow: false }] : []);

let vhosts = ["/"];
let types = ["direct", "fanout", "topic", "headers"];

/** The virtual hosts that the user may see. */
export const knownVhosts = () => vhosts;

/** The types of exchanges that the broker has. */
export const exchangeTypes = () => types;

/** Remembers, at the log-in, what forms offer. */
export function remember(names, overview) {
  vhosts = names;
  if (overview.exchange_types?.length > 0) types = overview.exchange_types.map(({ name }) => name);
}

/** The field of a form that asks for the virtual host of a new object. */
export function vhostField() {
  return { name: "vhost", label: "Virtual host", kind: "select", options: vhosts.map((name) => [name, name]), value: vhost() ?? (vhosts.includes("/") ? "/" : vhosts[0]) };
}
