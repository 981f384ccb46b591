// The connection to the server: one WebSocket, opened again whenever it is lost.

const SILENCE_MS = 3500; // The server speaks at least once a second.
const WAITS_MS = [300, 700, 1500, 3000];
const FINAL = new Map([[4401, "token"], [4429, "full"]]);

/** Takes the token out of the address, where it would stay in the history. */
function takeToken() {
  const found = new URLSearchParams(location.hash.slice(1)).get("token");
  try {
    if (found) {
      sessionStorage.setItem("token", found);
      history.replaceState(null, "", location.pathname);
    }
    return found ?? sessionStorage.getItem("token");
  } catch {
    return found;
  }
}

export class Link {
  #token = takeToken();
  #socket = null;
  #stream = 0;
  #tries = 0;
  #heard = 0;
  #looked = 0;
  #timer = 0;
  #ended = false; // Said by the server: what follows is no fault.
  #on;

  /** @param on has text(message), signal(channels, start, values) and state(name): live, lost, ended, token, full. */
  constructor(on) {
    this.#on = on;
    setInterval(() => this.#look(), 500);
  }

  #look() {
    const now = performance.now();
    // A page in the background sleeps; what came meanwhile has not been read yet.
    const slept = now - this.#looked > 2000;
    this.#looked = now;
    if (!slept && this.#socket?.readyState === WebSocket.OPEN && now - this.#heard > SILENCE_MS) this.#lose("lost");
  }

  open(stream) {
    this.#stream = stream;
    this.#tries = 0;
    this.#connect();
  }

  #drop() {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  #lose(why) {
    this.#drop();
    this.#on.state(why);
    this.#timer = setTimeout(() => this.#connect(), WAITS_MS[Math.min(this.#tries++, WAITS_MS.length - 1)]);
  }

  #connect() {
    this.#drop();
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live`);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    socket.onopen = () => {
      this.#heard = performance.now();
      socket.send(JSON.stringify({ token: this.#token, stream: this.#stream }));
    };
    socket.onmessage = ({ data }) => {
      if (socket !== this.#socket) return;
      this.#heard = performance.now();
      if (typeof data !== "string") return this.#signal(data);
      const message = JSON.parse(data);
      if (message.type === "hello") {
        this.#tries = 0;
        this.#ended = false;
        this.#on.state("live");
      }
      if (message.type === "end") this.#ended = true;
      else this.#on.text(message);
    };
    socket.onclose = ({ code }) => {
      if (socket !== this.#socket) return;
      if (code === 1008 && this.#stream) this.#stream = 0; // Another server, with fewer streams.
      this.#lose(FINAL.get(code) ?? (this.#ended ? "ended" : "lost"));
    };
  }

  #signal(data) {
    const head = new DataView(data, 0, 16);
    if (head.getUint32(0, true) === 1) {
      this.#on.signal(head.getUint32(4, true), head.getFloat64(8, true), new Float32Array(data, 16));
    }
  }
}
