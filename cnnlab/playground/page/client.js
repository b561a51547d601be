// The page's side of the worker: questions in, promises of answers out.

/** Start the engine on a described network: {ask(question, content, more), how}. */
async function startEngine(description, bytes, allowWasm) {
  const code = new Blob([document.getElementById("engine").textContent], { type: "text/javascript" });
  const worker = new Worker(URL.createObjectURL(code));
  const waiting = new Map();
  let asked = 0;
  worker.onmessage = ({ data: { id, ...answer } }) => waiting.get(id)?.(answer);

  /** Ask the worker; the promise is kept by its first answer, and `more` hears every answer. */
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
