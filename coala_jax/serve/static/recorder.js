// Sounds that are given: recorded, or decoded by the browser where the server cannot.

const MOST_SECONDS = 60;

// 16 bit PCM of one channel.
export function asWav(samples, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (at, letters) => [...letters].forEach((letter, n) => view.setUint8(at + n, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((value, n) => view.setInt16(44 + 2 * n, Math.max(-1, Math.min(1, value)) * 32767, true));
  return new Blob([view], { type: "audio/wav" });
}

// What the browser can decode, as a WAV of its first minute.
export async function toWav(blob) {
  const context = new AudioContext();
  try {
    const sound = await context.decodeAudioData(await blob.arrayBuffer());
    const size = Math.min(sound.length, MOST_SECONDS * sound.sampleRate);
    const mono = new Float32Array(size);
    for (let channel = 0; channel < sound.numberOfChannels; channel++) {
      const samples = sound.getChannelData(channel);
      for (let n = 0; n < size; n++) mono[n] += samples[n] / sound.numberOfChannels;
    }
    return asWav(mono, sound.sampleRate);
  } finally {
    context.close();
  }
}

export class Recorder {
  constructor(done) {
    this.done = done; // is given the WAV
    this.running = null;
  }

  async start() {
    const input = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const stream = await navigator.mediaDevices.getUserMedia({ audio: input });
    const recorder = new MediaRecorder(stream);
    const parts = [];
    recorder.addEventListener("dataavailable", ({ data }) => parts.push(data));
    recorder.addEventListener("stop", async () => {
      clearTimeout(timer);
      stream.getTracks().forEach((track) => track.stop());
      this.running = null;
      this.done(new Blob(parts, { type: recorder.mimeType }));
    });
    recorder.start();
    const timer = setTimeout(() => this.stop(), MOST_SECONDS * 1000);
    this.running = recorder;
  }

  stop() {
    this.running?.stop();
  }
}
