// One exchange: rates, bindings, publishing, deletion.

import { get, path, remove } from "../lib/api.js";
import { count, exchangeName, rate } from "../lib/format.js";
import { el } from "../lib/dom.js";
import { argumentList } from "../parts/arguments.js";
import { bindExchangeForm, bindingTable } from "../parts/bindings.js";
import { Chart, chartPanel } from "../parts/chart.js";
import { askFirst } from "../parts/dialog.js";
import { button, facts, folded, head, panel, Slot, tablePanel, tag } from "../parts/page.js";
import { publishForm } from "../parts/publish.js";
import { rates, SAMPLES } from "../parts/samples.js";
import { features } from "./exchanges.js";

export async function exchange(view) {
  const [vhost, part] = view.route.names;
  const name = part === "amq.default" ? "" : part;
  const url = path`/api/exchanges/${vhost}/${part}`;
  const about = new Slot();
  const flow = new Chart("Message rates", rate);
  const from = bindingTable(view, "destination");
  const to = bindingTable(view, "source");
  const own = name !== "" && !name.startsWith("amq.");
  view.show(head(exchangeName(name), {
    above: [["Exchanges", "exchanges"]], marks: tag(vhost, "", "Virtual host"),
    buttons: own && button("Delete", () => deleteIt(view, vhost, name), "danger"),
  }), el("div", { class: "grid two" }, panel("Exchange", about.element), chartPanel("Message rates", flow),
    el("div", { class: "wide" }, tablePanel("Bindings from it", from)),
    el("div", { class: "wide" }, tablePanel("Bindings to it", to)),
    name !== "" && el("div", { class: "wide" }, folded("Add a binding", bindExchangeForm(view, vhost, name))),
    el("div", { class: "wide" }, folded("Publish a message", publishForm(view, vhost, name)))));
  await view.keep(async (signal) => {
    const [one, outgoing, incoming] = await Promise.all([
      get(url, { query: SAMPLES, signal }), get(`${url}/bindings/source`, { signal }), get(`${url}/bindings/destination`, { signal }),
    ]);
    about.update(one, aboutExchange);
    flow.update([["publish_in", "In", 1], ["publish_out", "Out", 2]].map(([field, title, colour]) => {
      const details = one.message_stats?.[`${field}_details`];
      return { title, colour, points: rates(details), now: details?.rate ?? 0 };
    }));
    from.update(outgoing);
    to.update(incoming);
  });
}

function aboutExchange(one) {
  return facts([
    ["Type", one.type],
    ["Features", features(one)],
    ["Policy", one.policy ?? "none"],
    ["Arguments", argumentList(one.arguments)],
    ["Received", count(one.message_stats?.publish_in ?? 0)],
    ["Routed", count(one.message_stats?.publish_out ?? 0)],
  ]);
}

function deleteIt(view, vhost, name) {
  askFirst("Delete the exchange", `Exchange "${name}" and its bindings will be gone.`, "Delete the exchange", () => view.act("The exchange is deleted.", async () => {
    await remove(path`/api/exchanges/${vhost}/${name}`);
    view.leave("exchanges");
  }));
}
