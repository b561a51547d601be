// The slider over training time: the weights after some steps, and at its end those of the checkpoint.

const STEP_SHOWN = 700; // ms for each moment when playing

/** Let the slider choose among `moments` [{step, tensors}]; `learn(tensors)` returns a promise that they are loaded. */
function makeTime(moments, learn) {
  const slider = byId("time"), shown = byId("time-shown"), button = byId("time-play");
  const words = (n) => (n + 1 < moments.length ? (moments[n].step ? `after ${moments[n].step.toLocaleString("en")} step${moments[n].step > 1 ? "s" : ""}` : "before training") : "the kept checkpoint");
  let busy = false, wanted = null, playing = null;

  /** Load the newest choice; choices made while another was loading are skipped. */
  async function choose() {
    wanted = Number(slider.value);
    shown.textContent = words(wanted);
    slider.setAttribute("aria-valuetext", words(wanted));
    if (busy) return;
    busy = true;
    while (wanted !== null) {
      const { tensors } = moments[wanted];
      wanted = null;
      await learn(tensors);
    }
    busy = false;
  }

  function play(on) {
    clearInterval(playing);
    playing = on ? setInterval(next, STEP_SHOWN) : null;
    button.setAttribute("aria-pressed", String(on));
  }

  function next() {
    slider.value = Number(slider.value) + 1;
    choose();
    if (Number(slider.value) === moments.length - 1) play(false);
  }

  slider.max = slider.value = moments.length - 1;
  shown.textContent = words(moments.length - 1);
  slider.setAttribute("aria-valuetext", shown.textContent);
  slider.addEventListener("input", () => (play(false), choose()));
  button.addEventListener("click", () => {
    if (playing) return play(false);
    slider.value = 0;
    choose();
    play(true);
  });
}
