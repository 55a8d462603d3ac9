// Who uses the page. The credentials stay in this tab: `sessionStorage` survives a reload and ends with the tab,
// and unlike a cookie no other site can make the browser send them.

import { authorizeWith, get } from "./api.js";

const KEY = "leveret.authorization";

/** The user as `/api/whoami` names them, or null before the log-in. */
export let user = null;

/** Logs in; throws the broker's refusal. */
export async function logIn(name, password) {
  const utf8 = new TextEncoder().encode(`${name}:${password}`);
  const header = `Basic ${btoa(String.fromCharCode(...utf8))}`;
  await enter(header);
  sessionStorage.setItem(KEY, header);
}

/** Continues the log-in of this tab, if there is one. */
export async function resume() {
  const header = sessionStorage.getItem(KEY);
  if (header === null) return;
  try {
    await enter(header);
  } catch (error) {
    if (error.status !== 401) throw error;
    logOut();
  }
}

async function enter(header) {
  authorizeWith(header);
  try {
    user = await get("/api/whoami");
  } catch (error) {
    authorizeWith(null);
    throw error;
  }
}

export function logOut() {
  sessionStorage.removeItem(KEY);
  authorizeWith(null);
  user = null;
}

/** RabbitMQ's rights of tags: each name stands for what the tag and those above it may do. */
const TAGS_WITH = {
  administrator: ["administrator"],
  monitoring: ["administrator", "monitoring"],
  policymaker: ["administrator", "policymaker"],
  "monitoring or policymaker": ["administrator", "monitoring", "policymaker"],
  management: ["administrator", "monitoring", "policymaker", "management"],
};

/** Whether the user's tags give a right. The broker decides; this only spares pages that it would refuse. */
export function may(right) {
  const tags = user === null ? [] : Array.isArray(user.tags) ? user.tags : String(user.tags).split(",");
  return TAGS_WITH[right].some((tag) => tags.includes(tag));
}
