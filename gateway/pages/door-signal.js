// What is heard and felt: one short rising pair of tones for "in", a long low one for all else.

/** @type {AudioContext | null} */
let audio = null;

/** Browsers let a page make sounds once somebody has pressed something: called then. */
export function unlock() {
  audio ??= "AudioContext" in globalThis ? new AudioContext() : null;
  audio?.resume();
}

/** @param {boolean} isIn @param {{ sound: boolean }} with_ */
export function signal(isIn, { sound }) {
  navigator.vibrate?.(isIn ? 80 : [250, 100, 250]);
  if (!sound) return;
  if (isIn) {
    tone(880, 0, 0.09, "sine");
    tone(1320, 0.1, 0.14, "sine");
  } else {
    tone(180, 0, 0.55, "square");
  }
}

/** @param {number} hertz @param {number} after In seconds @param {number} seconds @param {OscillatorType} type */
function tone(hertz, after, seconds, type) {
  if (!audio) return;
  const begin = audio.currentTime + after;
  const [source, volume] = [audio.createOscillator(), audio.createGain()];
  source.type = type;
  source.frequency.value = hertz;
  volume.gain.setValueAtTime(0.3, begin);
  volume.gain.exponentialRampToValueAtTime(0.001, begin + seconds);
  source.connect(volume).connect(audio.destination);
  source.start(begin);
  source.stop(begin + seconds);
}

/** Keeps the screen on while the page is seen; where the browser can't, the device's own setting holds. @param {AbortSignal} signal_ */
export function stayAwake(signal_) {
  const ask = () => {
    if (document.visibilityState === "visible") navigator.wakeLock?.request("screen").catch(() => {}); // low battery
  };
  document.addEventListener("visibilitychange", ask, { signal: signal_ });
  ask();
}
