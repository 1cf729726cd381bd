// Python, the project's source and the page's module in a worker of their own.
// Calls come in as {id, name, args} and go out as {id, result} or {id, error}.

const here = new URL("./engine/", import.meta.url);
const MODULES = {
  page_begin: "session", page_run: "session", page_at: "session",
  page_story: "stories", page_bug: "bugs",
};

function say(stage) {
  postMessage({ stage });
}

async function bytes(name) {
  const answer = await fetch(new URL(name, here));
  if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
  return new Uint8Array(await answer.arrayBuffer());
}

async function start() {
  const answer = await fetch(new URL("manifest.json", here));
  if (!answer.ok) {
    const error = new Error("this copy of the site was built without the engine");
    error.absent = true;
    throw error;
  }
  say("loading Python");
  const packages = bytes("packages.zip");
  const { loadPyodide } = await import(new URL("pyodide.mjs", here).href);
  const python = await loadPyodide({ indexURL: here.href });
  say("loading the engine");
  python.unpackArchive(await packages, "zip");
  return python;
}

const ready = start();
ready.then(
  () => postMessage({ ready: true }),
  (error) => postMessage({ failed: String(error.message || error), absent: Boolean(error.absent) }),
);

onmessage = async ({ data }) => {
  const { id, name, args } = data;
  try {
    const python = await ready;
    const module = python.pyimport(`website.${MODULES[name]}`);
    postMessage({ id, result: JSON.parse(module[name](...args)) });
  } catch (error) {
    postMessage({ id, error: String(error.message || error) });
  }
};
