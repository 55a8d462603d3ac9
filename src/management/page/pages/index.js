// All pages in the order of the navigation. `list` opens `#/name`, `detail` opens `#/name/...`; `right` and `detailRight`
// are the tags that the API asks for.

import { channel, channels } from "./channels.js";
import { connection, connections } from "./connections.js";
import { cmq } from "./cmq.js";
import { definitions } from "./definitions.js";
import { exchange } from "./exchange.js";
import { exchanges } from "./exchanges.js";
import { node } from "./node.js";
import { overview } from "./overview.js";
import { policies } from "./policies.js";
import { queue } from "./queue.js";
import { queues } from "./queues.js";
import { set } from "./set.js";
import { shovels } from "./shovels.js";
import { streams } from "./streams.js";
import { userPage } from "./user.js";
import { users } from "./users.js";
import { vhostPage, vhosts } from "./vhosts.js";

export const PAGES = [
  { name: "overview", title: "Overview", right: "management", list: overview },
  { name: "connections", title: "Connections", right: "management", list: connections, detail: connection },
  { name: "channels", title: "Channels", right: "management", list: channels, detail: channel },
  { name: "exchanges", title: "Exchanges", right: "management", list: exchanges, detail: exchange },
  { name: "queues", title: "Queues", right: "management", list: queues, detail: queue },
  { name: "streams", title: "Streams", right: "management", list: streams },
  { name: "cmq", title: "CMQ", right: "management", list: cmq },
  { name: "policies", title: "Policies", right: "management", list: policies },
  { name: "shovels", title: "Shovels", right: "monitoring or policymaker", list: shovels },
  { name: "vhosts", title: "Virtual hosts", right: "management", list: vhosts, detail: vhostPage, detailRight: "administrator" },
  { name: "users", title: "Users", right: "administrator", list: users, detail: userPage },
  { name: "definitions", title: "Definitions", right: "administrator", list: definitions },
  { name: "set", title: "Set of nodes", right: "monitoring", list: set },
  { name: "node", title: "Node", right: "monitoring", list: node },
];
