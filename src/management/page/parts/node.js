// What a node says of its memory, disk and descriptors.

import { bytes, count } from "../lib/format.js";
import { facts, meter } from "./page.js";

/** Sentences about the alarms that are on. */
export function alarms(node) {
  return [
    node.mem_alarm && `Memory alarm on ${node.name}: ${bytes(node.mem_used)} used, ${bytes(node.mem_limit)} allowed. Publishers are blocked.`,
    node.disk_free_alarm && `Disk alarm on ${node.name}: ${bytes(node.disk_free)} free, ${bytes(node.disk_free_limit)} needed. Publishers are blocked.`,
  ].filter(Boolean);
}

export function meters(node) {
  return [
    meter("Memory", node.mem_used, node.mem_limit, `${bytes(node.mem_used)} of ${bytes(node.mem_limit)}`, node.mem_alarm),
    meter("File descriptors", node.fd_used, node.fd_total, `${count(node.fd_used)} of ${count(node.fd_total)}`),
    node.sockets_total > 0 && meter("Sockets", node.sockets_used, node.sockets_total, `${count(node.sockets_used)} of ${count(node.sockets_total)}`),
    typeof node.disk_free === "number" && facts([["Free disk", `${bytes(node.disk_free)}; publishers are blocked below ${bytes(node.disk_free_limit)}`]]),
  ];
}
