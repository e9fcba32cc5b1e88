// Talks to the server: questions, decisions in their order, and news. What cannot be sent waits, and is not lost.

/** No answer: the server was stopped, or the network is away. */
export class Unreachable extends Error {}
/** The server does not know this address: it was started anew. */
export class OutOfDate extends Error {}
/** The server said no, and why. */
export class Refused extends Error {}

async function ask(address, options = {}) {
  let response;
  try {
    response = await fetch(address, { cache: "no-store", ...options });
  } catch {
    throw new Unreachable();
  }
  if (response.ok) return response.json().catch(() => { throw new Unreachable(); });
  if (response.status === 503) throw new Unreachable();
  if (response.status === 403 || response.status === 404) throw new OutOfDate();
  throw new Refused((await response.text()).slice(0, 300));
}

export const get = (address) => ask(address);
const post = (address, body) =>
  ask(address, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const AGAIN_MS = [200, 400, 800, 1600, 3000];

/** Tells of "news" (what changed), "state" (everything, after it was away) and "standing": that `standing` (here, lost or dead), `trouble`
 *  (why the tree cannot be worked on) or what is held changed. */
export class Server extends EventTarget {
  standing = "here";
  #version;
  #source = null;
  #jobs = [];
  #sending = false;
  #back = [];

  constructor({ version, trouble }) {
    super();
    this.#version = version;
    this.trouble = trouble;
    this.#listen();
    addEventListener("pagehide", () => this.#source?.close());
    addEventListener("pageshow", (event) => event.persisted && this.#lost());
  }

  /** Decisions that are not sent yet. */
  get held() {
    return this.#jobs.length;
  }

  /** Sends `body()` to an address when all before it was answered, and calls `answered` or, where it was Refused, `refused` before
   *  the next is sent. `body` may return null: then there is nothing to send, and null is the answer. */
  send(address, body, answered, refused) {
    this.#jobs.push({ address, body, answered, refused });
    if (this.standing !== "here" || this.trouble) this.#tell();
    this.#work();
  }

  async #work() {
    if (this.#sending) return;
    this.#sending = true;
    while (this.#jobs.length) {
      if (this.trouble) await new Promise((again) => this.#back.push(again));
      const { address, body, answered, refused } = this.#jobs[0];
      const what = body();
      let done;
      try {
        const answer = what === null ? null : await post(address, what);
        done = () => answered(answer);
      } catch (error) {
        if (error instanceof Refused) done = () => refused(error);
        else await this.#again();
      }
      if (done) {
        this.#jobs.shift();
        done();
      }
    }
    this.#sending = false;
    this.#tell();
  }

  /** Waits until the server answers again. */
  async #again() {
    const back = new Promise((again) => this.#back.push(again));
    this.#lost();
    await back;
  }

  #listen() {
    this.#source = new EventSource(`events?after=${this.#version}`);
    this.#source.onmessage = (event) => {
      const news = JSON.parse(event.data);
      this.#version = news.version;
      this.dispatchEvent(new CustomEvent("news", { detail: news }));
      this.#stand("here", news.trouble);
    };
    this.#source.onerror = () => this.#lost();
  }

  #stand(standing, trouble = this.trouble) {
    this.standing = standing;
    this.trouble = trouble;
    this.#tell();
    if (standing === "here" && !trouble) this.#back.splice(0).forEach((again) => again());
  }

  #tell() {
    this.dispatchEvent(new Event("standing"));
  }

  /** Asks until there is an answer. */
  async #lost() {
    this.#source.close();
    if (this.standing !== "here") return;
    this.#stand("lost");
    for (let i = 0; ; i++) {
      await pause(AGAIN_MS[Math.min(i, AGAIN_MS.length - 1)]);
      try {
        const state = await get("state");
        this.#version = state.version;
        this.dispatchEvent(new CustomEvent("state", { detail: state }));
        this.#listen();
        return this.#stand("here", state.trouble);
      } catch (error) {
        if (error instanceof OutOfDate) return this.#stand("dead");
      }
    }
  }
}
