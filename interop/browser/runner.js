// Runs the checks in headless Chromium and prints a line for each, as all runners here do.
// `PAGE_ONLY` is a part of the names of the checks to run; `PAGE_PICTURES` a folder for the documentation's pictures, which
// are then taken instead; `PAGE_FAILURES` a folder for pictures of failed checks.

import { URL_OF_PAGE } from "./api.js";
import { launch, open } from "./browser.js";
import { checks as definitions } from "./checks_definitions.js";
import { checks as lists } from "./checks_lists.js";
import { checks as messages } from "./checks_messages.js";
import { checks as rights } from "./checks_rights.js";
import { checks as set } from "./checks_set.js";
import { takePictures } from "./pictures.js";

const only = process.env.PAGE_ONLY ?? "";
const browser = await launch();
let failed = 0;

if (process.env.PAGE_PICTURES) {
  await takePictures(browser, process.env.PAGE_PICTURES);
  await browser.close();
  process.exit(0);
}

for (const [name, check] of Object.entries({ ...rights, ...messages, ...definitions, ...lists, ...set })) {
  if (!name.includes(only)) continue;
  const options = { refusals: false };
  const { context, page, faults } = await open(browser, URL_OF_PAGE, options);
  const told = [];
  const fault = await check({ page, allowRefusals: () => { options.refusals = true; }, tell: (text) => told.push(text) }).then(() => faults()[0], (error) => error.message);
  if (fault && process.env.PAGE_FAILURES) await page.screenshot({ path: `${process.env.PAGE_FAILURES}/${name.replace(/\W+/g, "-")}.png` });
  await context.close();
  failed += fault ? 1 : 0;
  console.log(fault ? `FAIL ${name}: ${fault.split("\n").slice(0, 3).join(" ")}` : `ok ${name}${told.length > 0 ? `: ${told.join("; ")}` : ""}`);
}
await browser.close();
process.exit(failed === 0 ? 0 : 1);
