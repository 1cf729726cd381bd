// Group commit as a model: sliders for load and sync; the batches and the wait that follow.

const PER_COMMAND_US = 1.2;
const LIMIT = 1024;

function model(perSecond, syncUs) {
  const gap = 1e6 / perSecond;
  const duration = (size) => syncUs + size * PER_COMMAND_US;
  // A batch is what came in during the one before: size * gap = duration(size).
  const steady = gap > PER_COMMAND_US ? Math.ceil(syncUs / (gap - PER_COMMAND_US)) : Infinity;
  const size = Math.min(LIMIT, Math.max(1, steady));
  const keepsUp = steady <= LIMIT;
  const wait = duration(size) + (size > 1 ? (duration(size) / 2) : 0);
  return { size, keepsUp, wait, syncs: perSecond / size };
}

function slider(label, min, max, value, shown, changed) {
  const row = document.createElement("label");
  const input = Object.assign(document.createElement("input"), { type: "range", min, max, value, step: 0.01 });
  const output = document.createElement("output");
  const update = () => { output.textContent = shown(10 ** input.value); changed(); };
  input.addEventListener("input", update);
  row.append(label, input, output);
  return { row, update, value: () => 10 ** input.value };
}

function build(root) {
  const figures = document.createElement("p");
  const bars = document.createElement("div");
  bars.className = "c-bars";
  let ready = false;
  const draw = () => {
    if (!ready) return;
    const { size, keepsUp, wait, syncs } = model(load.value(), sync.value());
    figures.textContent = keepsUp
      ? `${size.toLocaleString("en")} commands a batch, ${Math.round(syncs).toLocaleString("en")} syncs a second, ` +
        `mean wait about ${Math.round(wait).toLocaleString("en")} µs`
      : `more than one writer can take: the queue fills, and producers get EngineBusy`;
    const share = sync.value() / (sync.value() + size * PER_COMMAND_US);
    bars.replaceChildren(bar("sync", share), bar("commands", 1 - share));
  };
  const load = slider("commands a second", 2, 6.2, 4.3, (n) => Math.round(n).toLocaleString("en"), draw);
  const sync = slider("one sync", 1, 4, 2, (n) => `${Math.round(n).toLocaleString("en")} µs`, draw);
  root.replaceChildren(load.row, sync.row, figures, bars);
  ready = true;
  load.update();
  sync.update();
}

function bar(name, share) {
  const piece = document.createElement("div");
  piece.className = `c-${name}`;
  piece.style.flexGrow = String(Math.max(share, 0.02));
  piece.textContent = `${name} ${Math.round(share * 100)}%`;
  return piece;
}

document.querySelectorAll("div.commit").forEach(build);
