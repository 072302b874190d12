"use strict";
// Texts are written by strangers: they get into the page as text only (textContent), never as markup.
const at = (id) => document.getElementById(id);
const KEYS = { a: "left", b: "right", t: "tie", x: "both_bad", s: "skip" };
let key = "";
let ticket = null;
let busy = false;

function say(text) {
  at("status").textContent = text;
}

async function call(path, order) {
  const headers = { Authorization: `Bearer ${key}` };
  const options = { headers, cache: "no-store", redirect: "error" };
  if (order !== undefined) {
    options.method = "POST";
    options.body = JSON.stringify(order);
    headers["Content-Type"] = "application/json";
  }
  const answer = await fetch(`/api/v1${path}`, options);
  const content = await answer.json();
  if (!answer.ok) {
    throw new Error([content.detail, content.hint].filter(Boolean).join("; "));
  }
  return content;
}

async function once(work) {
  if (busy) return;
  busy = true;
  lock();
  try {
    await work();
  } catch (fault) {
    say(`That did not work: ${fault.message}`);
  }
  busy = false;
  lock();
}

function lock() {
  for (const button of document.querySelectorAll("#votes button")) button.disabled = busy || ticket === null;
  at("next").disabled = busy;
}

const feature = () => encodeURIComponent(at("feature").value);

async function begin() {
  key = at("key").value.trim();
  const { features } = await call("/arena/features");
  at("key").value = "";
  at("login").hidden = true;
  if (!features.length) {
    say("No feature keeps pairs: shadow.keep.pairs of its flag would.");
    return;
  }
  at("feature").replaceChildren(...features.map((name) => new Option(name, name)));
  at("choose").hidden = false;
  await next();
}

function element(name, kind, text) {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  made.textContent = text;
  return made;
}

async function next() {
  ticket = null;
  const pair = await call(`/features/${feature()}/arena/pair`);
  at("left-model").textContent = at("right-model").textContent = "";
  at("next").hidden = true;
  at("pair").hidden = pair.ticket === null;
  if (pair.ticket === null) {
    say("There is nothing left for you to vote on here.");
    return;
  }
  const turns = pair.messages.flatMap(({ role, content }) => [
    element("p", "role", role),
    element("div", "turn", content),
  ]);
  for (const turn of turns) turn.dir = "auto";
  at("asked").replaceChildren(...turns);
  at("left").textContent = pair.left;
  at("right").textContent = pair.right;
  at("left").scrollTop = at("right").scrollTop = 0;
  at("votes").hidden = false;
  ticket = pair.ticket;
  say("Read both answers, then vote.");
  at("left-title").focus();
}

async function vote(choice) {
  const told = await call(`/features/${feature()}/arena/votes`, { ticket, vote: choice });
  ticket = null;
  at("left-model").textContent = told.left;
  at("right-model").textContent = told.right;
  at("votes").hidden = true;
  at("next").hidden = false;
  at("next").disabled = false;
  show(told.ratings);
  say(`Your vote counts. A was ${told.left}, B was ${told.right}.`);
  at("next").focus();
}

const percent = (value) => (value === null ? "–" : `${(100 * value).toFixed(0)} %`);

function show(found) {
  const rows = found.ratings.map((each) => {
    const row = document.createElement("tr");
    const reference = each.name === found.reference;
    const between = reference || each.win_lower === null ? "–" : `${percent(each.win_lower)} to ${percent(each.win_upper)}`;
    const head = element("th", "", each.name);
    head.scope = "row";
    row.append(head, element("td", "", String(each.votes)), element("td", "", reference ? "reference" : percent(each.win)));
    row.append(element("td", "", between));
    return row;
  });
  at("ratings-rows").replaceChildren(...rows);
  at("ratings-about").textContent = `${found.votes} votes of ${found.voters} voters; reference: ${found.reference}`;
  at("ratings").hidden = false;
}

at("login").addEventListener("submit", (event) => {
  event.preventDefault();
  once(begin);
});
at("feature").addEventListener("change", () => {
  at("ratings").hidden = true;
  once(next);
});
at("next").addEventListener("click", () => once(next));
at("votes").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button && ticket !== null) once(() => vote(button.dataset.vote));
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  if (event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement) return;
  const pressed = event.key.toLowerCase();
  if (pressed === "n" && !at("next").hidden) once(next);
  else if (Object.hasOwn(KEYS, pressed) && ticket !== null) once(() => vote(KEYS[pressed]));
});
lock();
