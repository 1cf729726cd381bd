// The engine in the page. A <div class="engine"> holds a script of lines in a <pre>; it is shown as
// a recorded run until the reader starts the engine, and then continues live.
//
//   data-show     what is drawn besides the lines: book, state, log, audit
//   data-deeds    buttons below the input: see DEEDS
//   data-replay   a slider over sequences
//   data-url      the lines are kept in the address of the page; a button fills the screen
//
// A <div class="story"> holds a scenario that three engines are asked to follow, and <div
// class="stories"> runs all of a page. A <div class="bug"> holds the names of bugs to plant.

const FATES = ["kept", "lost", "torn", "zeros", "garbage"];
const DEEDS = {
  unsynced: ["Send, and cut the power before the sync", "!unsynced "],
  plug: ["Pull the plug", "!plug"],
  kill: ["Kill the process", "!kill"],
  power: ["Power returns", "!power "],
  recover: ["Recover", "!recover"],
  tear: ["Tear a sector", "tear"],
  flip: ["Flip a bit", "!flip batch 1"],
  rules: ["Replay under a changed rule", "!rules"],
  idle: ["Go idle", "!idle"],
  close: ["Close", "!close"],
  audit: ["Write the trail", "!audit"],
  edit: ["Edit line 2", "!edit 2"],
  verify: ["Verify the trail", "!verify"],
};
const BEGINNING = "(a new disk; ABC is listed)";

function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null));
  return node;
}

// -- The worker: one for all engines of a page --------------------------------------------------

let worker = null;
let calls = 0;
const waiting = new Map();
const watchers = new Set();

function startWorker() {
  if (worker !== null) return;
  worker = new Worker(new URL("./worker.mjs", import.meta.url), { type: "module" });
  worker.onmessage = ({ data }) => {
    if (data.id === undefined) {
      for (const watch of watchers) watch(data);
      return;
    }
    const [resolve, reject] = waiting.get(data.id);
    waiting.delete(data.id);
    if (data.error === undefined) resolve(data.result);
    else reject(new Error(data.error));
  };
}

function ask(name, ...args) {
  startWorker();
  calls += 1;
  const id = calls;
  return new Promise((resolve, reject) => {
    waiting.set(id, [resolve, reject]);
    worker.postMessage({ id, name, args });
  });
}

// -- What is said of the engine's state, and the button that starts it --------------------------

function starter(onStart, hint, label = "Start the engine", again = false) {
  const status = h("span", { class: "e-status", role: "status" }, hint);
  const button = h("button", { type: "button", class: "e-start" }, label);
  const watch = (news) => {
    if (news.stage) status.textContent = `${news.stage} …`;
    if (news.absent) {
      status.textContent = `This copy of the site was built without the engine. ${hint}`;
      button.hidden = true;
    } else if (news.failed) {
      status.textContent = `The engine did not start: ${news.failed}. ${hint}`;
      button.disabled = false;
    }
  };
  button.addEventListener("click", async () => {
    button.disabled = true;
    status.textContent = "starting …";
    watchers.add(watch);
    const began = performance.now();
    try {
      await onStart();
      const seconds = ((performance.now() - began) / 1000).toFixed(1);
      button.hidden = !again;
      button.disabled = false;
      status.textContent = again
        ? `Live, in ${seconds} s.`
        : `Live: V2's own code runs in this page (ready in ${seconds} s).`;
    } catch (error) {
      watch({ failed: error.message, absent: error.message.includes("without the engine") });
    }
    watchers.delete(watch);
  });
  return h("div", { class: "e-bar" }, button, status);
}

// -- Drawing ------------------------------------------------------------------------------------

function drawBook(frame) {
  if (!frame.up) return h("p", { class: "e-down" }, downText(frame));
  return h("div", { class: "e-books" }, frame.books.map((book) => drawSymbol(book)));
}

function downText(frame) {
  return frame.power ? "The engine is down." : "There is no power. Memory is gone.";
}

function drawSymbol(book) {
  const rows = [
    ...[...book.asks].reverse().map((level) => drawLevel(level, "ask")),
    h("tr", { class: "e-spread" }, h("td", { colspan: "4" }, spread(book))),
    ...book.bids.map((level) => drawLevel(level, "bid")),
  ];
  return h(
    "table",
    { class: "e-book" },
    h("caption", {}, `${book.symbol}: price, open lots, queue (oldest first)`),
    h("tbody", {}, rows),
  );
}

function spread(book) {
  if (book.asks.length === 0 && book.bids.length === 0) return "empty";
  if (book.asks.length === 0) return "no asks";
  if (book.bids.length === 0) return "no bids";
  return `spread ${book.asks[0].price - book.bids[0].price}`;
}

function drawLevel(level, side) {
  return h(
    "tr",
    { class: `e-${side}` },
    h("td", { class: "e-side" }, side),
    h("td", { class: "e-price" }, String(level.price)),
    h("td", { class: "e-open" }, String(level.open)),
    h("td", { class: "e-queue" }, level.orders.map(drawOrder)),
  );
}

function drawOrder(order) {
  const title = `order ${order.id} of participant ${order.by}: ${order.open} open`;
  return h("span", { class: "e-order", title }, h("b", {}, `#${order.id}`), ` ${order.open}`);
}

function drawState(frame) {
  const parts = frame.up
    ? [`sequence ${frame.sequence}`, `${frame.resting} resting`, `${frame.trades} trades`,
       `state ${frame.hash.slice(0, 12)}…`]
    : [downText(frame)];
  parts.push(`answered up to ${frame.answered}`);
  return h("p", { class: "e-state" }, parts.join(" · "));
}

function drawSaid(said) {
  return said.map(({ kind, text }) => h("span", { class: `e-said e-${kind}` }, text));
}

function drawAudit(frame) {
  if (frame.audit.length === 0) return h("p", { class: "e-down" }, "No audit trail yet.");
  return h("ol", { class: "e-audit" }, frame.audit.map((line) => h("li", {}, line)));
}

function kindAt(log, offset) {
  return log.regions.findIndex((region) => offset >= region.from && offset < region.to);
}

function drawLog(log, choose, chosen) {
  const bytes = log.hex.match(/../g) || [];
  const width = window.matchMedia("(max-width: 40rem)").matches ? 8 : 16;
  const rows = [];
  let skipping = false;
  for (let at = 0; at < bytes.length; at += width) {
    const row = bytes.slice(at, at + width);
    const idle = row.every((byte) => byte === "00") && !log.unsynced.includes(Math.floor(at / 512));
    const region = log.regions[kindAt(log, at)];
    const boring = region === undefined || /padding|reserved/.test(region.name);
    if (idle && boring && at % 512 !== 0) {
      if (!skipping) rows.push(h("div", { class: "e-skip" }, "*"));
      skipping = true;
      continue;
    }
    skipping = false;
    rows.push(drawRow(log, at, row, choose, chosen));
  }
  return rows;
}

function drawRow(log, at, row, choose, chosen) {
  const unsynced = log.unsynced.includes(Math.floor(at / 512));
  const pieces = [];
  for (let i = 0; i < row.length; ) {
    const index = kindAt(log, at + i);
    let end = i + 1;
    while (end < row.length && kindAt(log, at + end) === index) end += 1;
    pieces.push(drawPiece(log, index, at + i, row.slice(i, end), choose, chosen));
    i = end;
  }
  const text = row.map((byte) => printable(parseInt(byte, 16))).join("");
  return h(
    "div",
    { class: unsynced ? "e-row e-unsynced" : "e-row" },
    h("span", { class: "e-offset" }, at.toString(16).padStart(5, "0")),
    h("span", { class: "e-bytes" }, pieces),
    h("span", { class: "e-text", "aria-hidden": "true" }, text),
  );
}

function drawPiece(log, index, offset, bytes, choose, chosen) {
  const region = log.regions[index];
  if (region === undefined) return h("span", { class: "e-unused" }, bytes.join(" "));
  const first = offset === region.from;
  return h(
    "span",
    {
      class: `e-region e-${region.kind.replace(" ", " e-")}${index === chosen ? " e-chosen" : ""}`,
      "data-index": index,
      role: first ? "button" : null,
      tabindex: first ? "0" : null,
      "aria-label": first ? `${region.name}: ${bytes.join(" ")}` : null,
      onmouseenter: () => choose(index, offset),
      onfocus: () => choose(index, offset),
      onclick: () => choose(index, offset),
    },
    bytes.join(" "),
  );
}

function printable(code) {
  return code > 31 && code < 127 ? String.fromCharCode(code) : "·";
}

async function recorded(name) {
  return (await fetch(new URL(`./recorded/${name}.json`, import.meta.url))).json();
}

// -- One engine on a page -----------------------------------------------------------------------

class Engine {
  constructor(root, index) {
    this.root = root;
    this.name = root.id || `engine-${index}`;
    this.show = (root.dataset.show || "book").split(" ");
    this.deeds = (root.dataset.deeds || "").split(" ").filter(Boolean);
    this.script = root.querySelector("pre").textContent.trim();
    if (root.dataset.url !== undefined && location.hash.startsWith("#s=")) {
      this.script = decodeURIComponent(location.hash.slice(3));
      this.foreign = true;
    }
    this.frames = [];
    this.at = 0;
    this.live = false;
    this.chosen = 0;
    this.build();
    this.showRecorded();
  }

  build() {
    const bar = starter(
      () => this.begin(),
      this.foreign ? "Start the engine to run these lines." : "What you see is a recorded run.",
    );
    this.lines = h("ol", { class: "e-lines" });
    this.book = h("div", { class: "e-view" });
    this.state = h("div", { class: "e-view" });
    this.log = h("div", { class: "e-view" });
    this.audit = h("div", { class: "e-view" });
    this.where = h("span", { class: "e-where" });
    const step = (by) => () => this.select(this.at + by);
    const steps = h(
      "div",
      { class: "e-steps" },
      h("button", { type: "button", "aria-label": "first step", onclick: () => this.select(0) }, "«"),
      h("button", { type: "button", "aria-label": "step back", onclick: step(-1) }, "‹"),
      h("button", { type: "button", "aria-label": "step forth", onclick: step(1) }, "›"),
      h("button", { type: "button", "aria-label": "last step", onclick: () => this.select(this.frames.length) }, "»"),
      this.where,
    );
    this.input = h("input", {
      type: "text", class: "e-input", "aria-label": "next line", autocomplete: "off",
      autocapitalize: "off", spellcheck: "false", placeholder: "buy 9 3@101", disabled: true,
    });
    this.controls = h(
      "form",
      { class: "e-form", onsubmit: (event) => { event.preventDefault(); this.send(); } },
      this.input,
      h("button", { type: "submit", disabled: true }, "Send"),
      h("button", { type: "button", disabled: true, onclick: () => this.begin() }, "Start over"),
      h("button", { type: "button", disabled: true, onclick: () => this.begin("") }, "Empty"),
    );
    this.deedRow = h("div", { class: "e-deeds" }, this.deeds.map((deed) => this.deedButton(deed)));
    this.replay = this.root.dataset.replay === undefined ? null : this.buildReplay();
    const left = h("div", { class: "e-left" }, steps, this.lines, this.controls,
                   this.deeds.length ? this.deedRow : null, this.replay);
    const right = h("div", { class: "e-right" },
                    this.show.includes("book") ? this.book : null,
                    this.show.includes("state") ? this.state : null);
    if (this.root.dataset.url !== undefined && document.fullscreenEnabled) {
      bar.append(h("button", { type: "button", onclick: () => this.fill() }, "Full screen"));
    }
    this.root.replaceChildren(
      bar,
      h("div", { class: "e-columns" }, left, right),
      ...(this.show.includes("log") ? [this.log] : []),
      ...(this.show.includes("audit") ? [this.audit] : []),
    );
    this.root.classList.add("e-built");
    this.root.setAttribute("role", "group");
    this.root.setAttribute("aria-label", "the engine in the page");
  }

  fill() {
    if (document.fullscreenElement === null) this.root.requestFullscreen();
    else document.exitFullscreen();
  }

  deedButton(deed) {
    const [label, line] = DEEDS[deed];
    if (deed === "power") {
      const select = h("select", { "aria-label": "what the disk kept", disabled: true },
                       FATES.map((fate) => h("option", { value: fate }, fate)));
      const go = () => this.run(line + select.value);
      return h("span", { class: "e-pair" }, select,
               h("button", { type: "button", disabled: true, onclick: go }, label));
    }
    const go = () => {
      if (deed === "unsynced") this.run(line + (this.input.value.trim() || this.example()));
      else if (deed === "tear") this.run(`!unsynced ${this.example()}\n!power torn`);
      else this.run(line);
    };
    return h("button", { type: "button", disabled: true, onclick: go }, label);
  }

  example() {
    const used = this.frames.flatMap((frame) => frame.line.match(/(?:buy|sell) (\d+)/g) || []);
    const ids = used.map((text) => Number(text.split(" ")[1]));
    return `buy ${Math.max(0, ...ids) + 1} 1@90`;
  }

  buildReplay() {
    const shown = h("output", {}, "–");
    const slider = h("input", {
      type: "range", min: "0", max: "1", value: "1", disabled: true,
      "aria-label": "replay until this sequence",
      oninput: async () => {
        shown.textContent = `sequence ${slider.value}`;
        const frame = await ask("page_at", this.name, Number(slider.value));
        this.book.replaceChildren(drawBook(frame));
        this.state.replaceChildren(drawState(frame));
      },
    });
    this.slider = slider;
    return h("label", { class: "e-replay" }, "Replay from the log until ", slider, shown);
  }

  async showRecorded() {
    if (this.foreign) {
      this.texts = await recorded("texts");
      this.frames = this.script.split("\n").filter(Boolean).map((line) => ({ line, said: [] }));
      this.drawLines();
      return;
    }
    try {
      if (this.show.includes("log")) this.texts = await recorded("texts");
      const frames = await recorded(this.name);
      if (!this.live) this.set(frames, 0);
    } catch (error) {
      this.lines.replaceChildren(h("li", {}, String(error.message)));
    }
  }

  set(frames, at = frames.length) {
    this.frames = frames;
    this.drawLines();
    this.select(at);
  }

  async begin(script = this.script) {
    const frames = await ask("page_begin", this.name, script);
    this.live = true;
    for (const control of this.root.querySelectorAll("[disabled]")) control.disabled = false;
    this.set(frames);
    this.remember();
  }

  send() {
    const text = this.input.value.trim();
    if (text) {
      this.input.value = "";
      this.run(text);
    }
  }

  async run(text) {
    const began = performance.now();
    const frames = await ask("page_run", this.name, text);
    this.root.dataset.milliseconds = (performance.now() - began).toFixed(0);
    this.set([...this.frames, ...frames]);
    this.remember();
  }

  remember() {
    if (this.root.dataset.url === undefined) return;
    const lines = this.frames.slice(1).map((frame) => frame.line).join("\n");
    history.replaceState(null, "", lines ? `#s=${encodeURIComponent(lines)}` : location.pathname);
  }

  drawLines() {
    this.lines.replaceChildren(
      ...this.frames.map((frame, index) =>
        h("li", {},
          h("button", { type: "button", class: "e-line", onclick: () => this.select(index) },
            h("code", {}, frame.line || BEGINNING), ...drawSaid(frame.said)))),
    );
  }

  select(index) {
    if (this.frames.length === 0 || this.frames[0].books === undefined) return;
    this.at = Math.max(0, Math.min(this.frames.length - 1, index));
    const frame = this.frames[this.at];
    [...this.lines.children].forEach((item, number) => {
      item.classList.toggle("e-now", number === this.at);
      item.classList.toggle("e-later", number > this.at);
    });
    const now = this.lines.children[this.at];
    this.lines.scrollTop = Math.max(0, now.offsetTop - this.lines.clientHeight + now.clientHeight);
    this.where.textContent = `step ${this.at} of ${this.frames.length - 1}`;
    if (this.show.includes("book")) this.book.replaceChildren(drawBook(frame));
    if (this.show.includes("state")) this.state.replaceChildren(drawState(frame));
    if (this.show.includes("log")) this.drawLog(frame.log);
    if (this.show.includes("audit")) this.audit.replaceChildren(drawAudit(frame));
    if (this.slider) {
      this.slider.max = String(frame.sequence);
      this.slider.value = String(frame.sequence);
    }
  }

  drawLog(log) {
    const detail = h("div", { class: "e-detail" });
    const hex = h("div", { class: "e-hex" });
    const choose = (index, offset) => {
      this.chosen = index;
      for (const piece of hex.querySelectorAll(".e-region")) {
        piece.classList.toggle("e-chosen", Number(piece.dataset.index) === index);
      }
      detail.replaceChildren(...this.detail(log.regions[index], offset));
    };
    hex.replaceChildren(...drawLog(log, choose, this.chosen));
    const files = log.files.map(([name, size]) => `${name} ${size.toLocaleString("en")}`).join(", ");
    this.log.replaceChildren(
      h("p", { class: "e-state" }, `${log.file} · files on the disk: ${files}`),
      hex,
      detail,
    );
    const first = log.regions[Math.min(this.chosen, log.regions.length - 1)];
    detail.replaceChildren(...this.detail(first, first.from));
  }

  detail(region, offset) {
    const place = `${hexOf(region.from)} … ${hexOf(region.to - 1)}`;
    const [says, against] = this.texts[region.text];
    const flip = () => this.run(`!flip ${hexOf(offset)} 0`);
    return [
      h("p", {}, h("b", {}, region.name), ` ${place}`, region.value ? h("code", {}, region.value) : null),
      h("p", {}, says, against ? ` Against: ${against}` : ""),
      this.live && this.deeds.includes("flip")
        ? h("button", { type: "button", onclick: flip }, `Flip a bit of byte ${hexOf(offset)}`)
        : "",
    ];
  }
}

function hexOf(offset) {
  return `0x${offset.toString(16).padStart(3, "0")}`;
}

// -- A scenario for three engines ---------------------------------------------------------------

class Story {
  constructor(root) {
    const source = root.querySelector("pre").textContent.trim();
    this.text = h("textarea", { "aria-label": "the scenario", spellcheck: "false",
                                rows: String(source.split("\n").length + 1) });
    this.text.value = source;
    this.verdicts = h("div", { class: "e-verdicts", role: "status" });
    this.bar = starter(() => this.run(), "You may change it first.", "Run on three engines", true);
    root.replaceChildren(this.text, this.bar, this.verdicts);
    root.classList.add("e-built");
  }

  async run() {
    const verdicts = await ask("page_story", this.text.value);
    this.verdicts.replaceChildren(
      ...verdicts.map(({ engine, ok, problem }) =>
        h("div", { class: ok ? "e-verdict e-good" : "e-verdict e-bad" },
          h("b", {}, `${engine}: ${ok ? "agrees" : "does otherwise"}`), h("pre", {}, problem))),
    );
  }
}

class AllStories {
  constructor(root) {
    this.result = h("div", { class: "e-verdicts", role: "status" });
    const bar = starter(() => this.run(), "", "Run all of them on three engines", true);
    root.replaceChildren(bar, this.result);
    root.classList.add("e-built");
  }

  async run() {
    const texts = [...document.querySelectorAll(".story textarea")].map((area) => area.value);
    await ask("page_story", texts[0]);
    const began = performance.now();
    let runs = 0;
    const failed = [];
    for (const text of texts) {
      for (const { engine, ok, problem } of await ask("page_story", text)) {
        runs += 1;
        if (!ok) failed.push(`${engine}: ${problem}`);
      }
    }
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    this.result.replaceChildren(
      h("p", { class: failed.length ? "e-said e-bad" : "e-said e-good" },
        `${runs} runs in ${seconds} s: ${runs - failed.length} as expected, ${failed.length} not`),
      ...failed.map((problem) => h("pre", {}, problem)),
    );
  }
}

// -- Plant a bug --------------------------------------------------------------------------------

class Bug {
  constructor(root) {
    const names = root.querySelector("pre").textContent.trim().split("\n");
    this.select = h("select", { "aria-label": "a bug", disabled: true },
                    names.map((name) => h("option", { value: name }, name)));
    this.go = h("button", { type: "button", disabled: true, onclick: () => this.run() },
                "Plant it, and run every scenario");
    this.result = h("div", { class: "e-verdicts", role: "status" });
    const bar = starter(() => this.begin(), "Start the engine to plant a bug.");
    root.replaceChildren(bar, h("div", { class: "e-form" }, this.select, this.go), this.result);
    root.classList.add("e-built");
  }

  async begin() {
    await ask("page_story", "buy 1 1@1");
    this.select.disabled = false;
    this.go.disabled = false;
  }

  async run() {
    this.go.disabled = true;
    this.result.replaceChildren(h("p", {}, "running …"));
    const { diff, stories, killed } = await ask("page_bug", this.select.value);
    const verdict = killed.length
      ? `${killed.length} of ${stories} scenarios fail; the first of them:`
      : `all ${stories} scenarios pass: another layer must find this bug`;
    this.result.replaceChildren(
      h("pre", { class: "e-diff" }, diff),
      h("p", { class: killed.length ? "e-said e-good" : "e-said e-bad" }, verdict),
      killed.length ? h("pre", {}, `${killed[0].story}\n${killed[0].problem}`) : "",
    );
    this.go.disabled = false;
  }
}

document.querySelectorAll("div.engine").forEach((root, index) => new Engine(root, index));
document.querySelectorAll("div.story").forEach((root) => new Story(root));
document.querySelectorAll("div.stories").forEach((root) => new AllStories(root));
document.querySelectorAll("div.bug").forEach((root) => new Bug(root));
