// The form before everything else.

import { el, show } from "../lib/dom.js";
import { logIn } from "../lib/session.js";
import { form } from "../parts/form.js";
import { notice } from "../parts/notice.js";

/** Shows the form; `onlogin` is called after a log-in. */
export function openLogIn(parent, onlogin) {
  const problem = el("div", { role: "alert" });
  const fields = [
    { name: "name", label: "User name", required: true },
    { name: "password", label: "Password", kind: "password" },
  ];
  const entry = form({
    fields, submit: "Log in", keep: true,
    onsubmit: async ({ name, password }) => {
      show(problem);
      try {
        await logIn(name, password);
        await onlogin();
      } catch (error) {
        show(problem, notice("danger", refusal(error)));
        return false;
      }
      return true;
    },
  });
  const [name, password] = entry.querySelectorAll("input");
  name.autocomplete = "username";
  password.autocomplete = "current-password";
  show(parent, el("main", { class: "log-in" }, el("h1", { class: "brand" }, el("img", { src: "icon.svg", alt: "" }), "Leveret"), problem, el("div", { class: "panel" }, el("div", { class: "body" }, el("br"), entry))));
  name.focus();
}

function refusal(error) {
  if (error.status === undefined) return `The broker does not answer: ${error.message}`;
  // RabbitMQ's word for unknown users and wrong passwords alike.
  return /^(not_authori[sz]ed|login failed)$/i.test(error.reason) ? "Wrong user name or password." : `Refused: ${error.reason}`;
}
