// What every page gets: tables with room, titles that lead to the source, recordings that play.

// -- The title of a block of source leads to the whole file

const titles = [...document.querySelectorAll(".md-content .highlight > .filename")];

async function linkTitles() {
  const answer = await fetch(new URL("./recorded/sources.json", import.meta.url));
  const addresses = await answer.json();
  for (const title of titles) {
    const address = addresses[title.textContent.trim()];
    if (address === undefined) continue;
    const link = Object.assign(document.createElement("a"), {
      href: new URL(`../${address}`, import.meta.url).href,
      textContent: title.textContent,
    });
    title.replaceChildren(link);
  }
}

if (titles.length > 0) linkTitles();

// -- A recorded terminal: <div class="tour" data-tour="v2">, played in the time that it took

const LONGEST_WAIT = 2500; // milliseconds; a longer wait is shortened

class Tour {
  constructor(root, { command, columns, moments }) {
    this.moments = moments;
    this.at = 0;
    this.timer = null;
    this.screen = make("pre", { className: "t-screen", tabIndex: 0 });
    this.screen.setAttribute("aria-label", `what ${command} printed`);
    this.screen.setAttribute("role", "region");
    this.where = make("span", { className: "e-where" });
    this.play = make("button", { type: "button", textContent: "Play", onclick: () => this.toggle() });
    const step = (label, text, to) => {
      const button = make("button", { type: "button", textContent: text, onclick: () => this.show(to()) });
      button.setAttribute("aria-label", label);
      return button;
    };
    const bar = make("div", { className: "e-steps" });
    bar.append(
      this.play,
      step("first moment", "«", () => 0), step("moment back", "‹", () => this.at - 1),
      step("moment forth", "›", () => this.at + 1), step("last moment", "»", () => moments.length),
      this.where,
    );
    this.prompt = make("span", { className: "t-prompt", textContent: `$ ${command}\n` });
    root.style.setProperty("--columns", columns);
    root.prepend(bar, this.screen);
    root.classList.add("e-built");
    this.show(0);
  }

  show(at) {
    this.stop();
    this.draw(at);
  }

  draw(at) {
    this.at = Math.max(0, Math.min(this.moments.length, at));
    this.screen.replaceChildren(this.prompt);
    for (const [, runs] of this.moments.slice(0, this.at)) {
      for (const [style, text] of runs) {
        this.screen.append(make("span", { className: style && `t-${style}`, textContent: text }));
      }
    }
    const seconds = this.at === 0 ? 0 : this.moments[this.at - 1][0] / 1000;
    this.where.textContent = `${seconds.toFixed(1)} s, moment ${this.at} of ${this.moments.length}`;
    this.screen.scrollTop = this.screen.scrollHeight;
  }

  toggle() {
    if (this.timer !== null) return this.stop();
    this.draw(this.at === this.moments.length ? 0 : this.at);
    this.play.textContent = "Pause";
    this.wait();
  }

  wait() {
    const since = this.at === 0 ? 0 : this.moments[this.at - 1][0];
    const pause = Math.max(400, Math.min(LONGEST_WAIT, this.moments[this.at][0] - since));
    this.timer = setTimeout(() => {
      this.draw(this.at + 1);
      if (this.at === this.moments.length) this.stop();
      else this.wait();
    }, pause);
  }

  stop() {
    clearTimeout(this.timer);
    this.timer = null;
    this.play.textContent = "Play";
  }
}

function make(tag, properties) {
  return Object.assign(document.createElement(tag), properties);
}

for (const root of document.querySelectorAll("div.tour")) {
  fetch(new URL(`./tours/${root.dataset.tour}.json`, import.meta.url))
    .then((answer) => answer.json())
    .then((recording) => new Tour(root, recording));
}

// -- Tables that have no room become cards, each value with the name of its column.

const tables = document.querySelectorAll(".md-content table:not(.e-book):not(.highlighttable)");

for (const table of tables) {
  const names = [...table.querySelectorAll("thead th")].map((cell) => cell.textContent.trim());
  for (const row of table.querySelectorAll("tbody tr")) {
    [...row.children].forEach((cell, index) => {
      if (index > 0 && names[index]) cell.dataset.label = names[index];
    });
  }
}

function isCramped(table) {
  const room = table.closest(".md-typeset__scrollwrap, .md-content").clientWidth;
  const columns = table.querySelectorAll("thead th").length;
  const wordy = [...table.querySelectorAll("td")].some((cell) => cell.textContent.length > 40);
  return table.scrollWidth > room + 1 || (innerWidth < 800 && columns > 2 && wordy);
}

function fit() {
  for (const table of tables) {
    delete table.dataset.cards;
    if (isCramped(table)) table.dataset.cards = "";
  }
}

if (tables.length > 0) {
  fit();
  matchMedia("(max-width: 60rem)").addEventListener("change", fit);
  addEventListener("load", fit);
}
