// Starts the page: log-in, the frame around the pages, and the way from an address to a page.

import { get } from "./lib/api.js";
import { el, show } from "./lib/dom.js";
import { href, route } from "./lib/router.js";
import { logOut, may, resume, user } from "./lib/session.js";
import { frame } from "./parts/frame.js";
import { remember } from "./parts/names.js";
import { notice, toast } from "./parts/notice.js";
import { View } from "./parts/view.js";
import { openLogIn } from "./pages/log_in.js";
import { PAGES } from "./pages/index.js";

let view = null;
let shell = null;

async function start() {
  try {
    await resume();
  } catch (error) {
    toast(`The broker does not answer: ${error.message}`, "danger");
  }
  if (user === null) return askForLogIn();
  await enter();
}

function askForLogIn() {
  view?.close();
  view = shell = null;
  document.title = "Log in · Leveret";
  openLogIn(document.body, enter);
}

async function enter() {
  const [overview, vhosts] = await Promise.all([get("/api/overview", { query: { disable_stats: "true" } }), get("/api/vhosts", { query: { columns: "name" } })]);
  const names = vhosts.map(({ name }) => name);
  remember(names, overview);
  shell = frame({ pages: PAGES.filter(({ right }) => may(right)), overview, vhosts: names, onchange: open, onlogout: leave });
  show(document.body, shell.element);
  open();
}

function leave() {
  logOut();
  location.hash = "";
  askForLogIn();
}

/** Opens the page of the present address. */
async function open() {
  if (shell === null) return;
  view?.close();
  const present = route();
  const [name = "overview", ...names] = present.parts;
  const page = PAGES.find((one) => one.name === name);
  shell.mark(page?.name);
  view = new View(shell.main, { ...present, names }, checkUser);
  document.title = `${names.length > 0 ? `${names.at(-1)} · ` : ""}${page?.title ?? "Not found"} · Leveret`;
  if (page === undefined) return view.show(notice("warn", "There is no such page. ", el("a", { href: href("overview") }, "Overview")));
  const right = names.length > 0 ? page.detailRight ?? page.right : page.right;
  if (!may(right)) return view.show(notice("danger", `${page.title}: refused. This page needs a user with the tag "${right}".`));
  await (names.length === 0 ? page.list : page.detail ?? page.list)(view);
}

/** A refusal may mean that the password was changed: then the log-in is over. */
async function checkUser() {
  try {
    await get("/api/whoami");
  } catch (error) {
    if (error.status === 401) leave();
  }
}

addEventListener("hashchange", () => {
  if (shell === null) return;
  open();
  shell.main.focus({ preventScroll: true });
  scrollTo(0, 0);
});
start();
