// The page's client of the worker: requests return promises of answers.

/** Start the engine on a described network: {ask(question, content, more), how}. */
async function startEngine(description, bytes, allowWasm) {
  const code = new Blob([document.getElementById("engine").textContent], { type: "text/javascript" });
  const worker = new Worker(URL.createObjectURL(code));
  const waiting = new Map();
  let asked = 0;
  worker.onmessage = ({ data: { id, ...answer } }) => waiting.get(id)?.(answer);

  /** Send a request to the worker; the promise resolves to its first answer, and `more` is called with every answer. */
  function ask(question, content = {}, more = () => {}) {
    const id = ++asked;
    return new Promise((resolve, reject) => {
      waiting.set(id, (answer) => {
        if (answer.error) reject(new Error(answer.error));
        else resolve(answer);
        more(answer);
      });
      worker.postMessage({ id, ask: question, ...content });
    });
  }

  const { how } = await ask("load", { description, bytes, allowWasm });
  return { ask, how };
}
