"use strict";
// Texts are written by strangers: they get into the page as text only (textContent), never as markup.
const at = (id) => document.getElementById(id);
const KEYS = { a: "left", b: "right", t: "tie", x: "both_bad", s: "skip" };
const PATIENCE_MS = 30_000;
const WELCOME = at("status").textContent;
let key = "";
let ticket = null;
let busy = false;

function say(text, kind = "") {
  at("status").textContent = text;
  at("status").dataset.kind = kind;
}

class Refusal extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

async function call(path, order) {
  const headers = { Authorization: `Bearer ${key}` };
  const options = { headers, cache: "no-store", redirect: "error", signal: AbortSignal.timeout(PATIENCE_MS) };
  if (order !== undefined) {
    options.method = "POST";
    options.body = JSON.stringify(order);
    headers["Content-Type"] = "application/json";
  }
  let answer, content;
  try {
    answer = await fetch(`/api/v1${path}`, options);
    content = await answer.json();
  } catch {
    throw new Refusal(0, "The gateway could not be reached. Look at your network, then try again.");
  }
  if (answer.ok) return content;
  if (answer.status === 401) throw new Refusal(401, "This key opens nothing: it is unknown, or has ended.");
  const text = [content.detail, content.hint].filter(Boolean).join("; ");
  throw new Refusal(answer.status, text || `The gateway answered ${answer.status}.`);
}

async function once(work) {
  if (busy) return;
  busy = true;
  lock();
  try {
    await work();
  } catch (fault) {
    refused(fault);
  }
  busy = false;
  lock();
  if (!at("next").hidden && ticket === null) at("next").focus();
}

function refused(fault) {
  say(fault.message, "fault");
  if (fault.status === 401 || fault.status === 403) {
    show({ login: true });
    at("key").focus();
  } else if (at("login").hidden) {
    // A vote that did not arrive can be repeated; one that was refused can't.
    if (fault.status) ticket = null;
    show({ pair: !at("pair").hidden, votes: ticket !== null, next: ticket === null ? "Try again" : "Another pair" });
  }
}

// What is on the page: the login form, or a pair, buttons to vote, the button to go on with its name, ratings.
function show({ login = false, pair = false, votes = false, next = "", ratings = false }) {
  if (login) {
    key = "";
    ticket = null;
  }
  if (!pair) for (const id of ["asked", "left", "right"]) at(id).replaceChildren();
  at("login").hidden = !login;
  at("session").hidden = login;
  at("pair").hidden = !pair;
  at("votes").hidden = !votes;
  at("next").hidden = !next;
  at("next-name").textContent = next;
  at("bar").hidden = !votes && !next;
  at("ratings").hidden = !ratings;
}

function lock() {
  for (const button of document.querySelectorAll("button, select")) button.disabled = busy;
  document.body.setAttribute("aria-busy", String(busy));
}

const feature = () => encodeURIComponent(at("feature").value);

async function begin() {
  key = at("key").value.trim() || key;
  const { features } = await call("/arena/features");
  at("key").value = "";
  at("feature").replaceChildren(...features.map((name) => new Option(name, name)));
  at("choose").hidden = !features.length;
  show({ next: "Look again" });
  if (features.length) await next();
  else say("No feature keeps pairs of answers yet: shadow.keep.pairs of its flag would.");
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
  delete at("answers").dataset.choice;
  if (pair.ticket === null) {
    const found = await call(`/features/${feature()}/ratings`);
    rate(found);
    show({ next: "Look again", ratings: found.votes > 0 });
    say(`There is nothing left for you to vote on here: ${pair.why}.`);
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
  ticket = pair.ticket;
  show({ pair: true, votes: true });
  for (const id of ["asked", "left", "right"]) {
    at(id).scrollTop = 0;
    // What scrolls must be in reach of the keyboard, what doesn't need not be stopped at.
    at(id).tabIndex = at(id).scrollHeight > at(id).clientHeight ? 0 : -1;
  }
  say("Read both answers, then vote.");
  scrollTo(0, 0);
  at("asked-title").focus({ preventScroll: true });
}

async function vote(choice) {
  const told = await call(`/features/${feature()}/arena/votes`, { ticket, vote: choice });
  ticket = null;
  at("left-model").textContent = told.left;
  at("right-model").textContent = told.right;
  at("answers").dataset.choice = choice;
  rate(told.ratings);
  show({ pair: true, next: "Next pair", ratings: true });
  say(`${choice === "skip" ? "Skipped." : "Your vote counts."} A was ${told.left}, B was ${told.right}.`);
}

const percent = (value) => (value === null ? "–" : `${(100 * value).toFixed(0)} %`);

function rate(found) {
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
  const count = (number, name) => `${number} ${name}${number === 1 ? "" : "s"}`;
  const about = `${count(found.votes, "vote")} of ${count(found.voters, "voter")}; reference: ${found.reference}`;
  at("ratings-rows").replaceChildren(...rows);
  at("ratings-about").textContent = about;
}

at("login").addEventListener("submit", (event) => {
  event.preventDefault();
  once(begin);
});
at("leave").addEventListener("click", () => {
  show({ login: true });
  say(WELCOME);
  at("key").focus();
});
at("feature").addEventListener("change", () => {
  show({});
  once(next);
});
// Without a feature the way on is to look for one.
const goOn = () => once(at("feature").value ? next : begin);
// The buttons to vote and to go on stand in the same place: a double click must not do both.
const deliberate = (event) => event.detail < 2;
at("next").addEventListener("click", (event) => {
  if (deliberate(event)) goOn();
});
at("votes").addEventListener("click", (event) => {
  const button = deliberate(event) && event.target.closest("button");
  if (button && ticket !== null) once(() => vote(button.dataset.vote));
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  if (event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement) return;
  const pressed = event.key.toLowerCase();
  if (pressed === "n" && !at("next").hidden) goOn();
  else if (Object.hasOwn(KEYS, pressed) && ticket !== null) once(() => vote(KEYS[pressed]));
});
