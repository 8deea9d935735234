/** What lies over the picture: state of the connection, the words as they sound, emotion and gestures as chips. */

import type { Gesture, Word } from "./turn";

const STYLE = `
.vv-stage{position:relative;width:100%;height:100%;overflow:hidden;border-radius:16px;touch-action:pan-y;
 font:500 14px/1.4 system-ui,-apple-system,"Segoe UI",sans-serif;color:#27313d;
 background:radial-gradient(120% 90% at 50% 18%,#fdfbf7 0%,#e9eef2 52%,#cdd8e0 100%)}
.vv-canvas{position:absolute;inset:0;width:100%;height:100%;display:block;opacity:0;transition:opacity .6s}
.vv-stage.vv-ready .vv-canvas{opacity:1}
.vv-top{position:absolute;left:12px;right:12px;top:12px;display:flex;gap:8px;align-items:flex-start;pointer-events:none}
.vv-bottom{position:absolute;left:12px;right:12px;bottom:12px;display:flex;flex-direction:column;gap:8px;
 align-items:center;pointer-events:none}
.vv-chip{padding:3px 11px;border-radius:999px;background:rgba(255,255,255,.78);box-shadow:0 1px 3px rgba(30,45,60,.14);
 white-space:nowrap;transition:opacity .4s,background .25s,color .25s}
.vv-state::before{content:"";display:inline-block;width:8px;height:8px;margin-right:7px;border-radius:50%;
 background:var(--dot,#8b97a3);vertical-align:1px}
.vv-state[data-state=idle]{--dot:#4a9d6f}.vv-state[data-state=listening]{--dot:#2f7fc1}
.vv-state[data-state=thinking]{--dot:#c98a1b}.vv-state[data-state=speaking]{--dot:#7a5bc0}
.vv-state[data-state=reconnecting],.vv-state[data-state=ended]{--dot:#c0453b}
.vv-notice{white-space:normal;border-radius:14px;overflow-wrap:anywhere}
.vv-sound{margin-left:auto;pointer-events:auto;border:0;cursor:pointer;font:inherit;color:inherit}
.vv-chips{display:flex;flex-wrap:wrap;gap:6px;justify-content:center}
.vv-chips .vv-chip{font-size:13px;background:rgba(255,255,255,.92)}
.vv-chips .vv-chip.vv-now{background:#2d5f7c;color:#fff}
.vv-emotion::before{content:"";display:inline-block;width:9px;height:9px;margin-right:6px;border-radius:50%;
 background:var(--feeling,#9aa5af);vertical-align:0}
.vv-chips.vv-over{opacity:0;transition:opacity 1.5s 4s}
.vv-words{max-width:92%;padding:6px 14px;border-radius:12px;background:rgba(28,38,48,.72);color:#cfd8df;
 font-size:16px;text-align:center;transition:opacity .3s}
.vv-words:empty{opacity:0;padding:0}
.vv-words b{font-weight:500;color:#fff}
.vv-words b.vv-now{color:#ffd98a}
[hidden]{display:none!important}
@media (max-width:640px){.vv-words{font-size:14px}.vv-chips .vv-chip{font-size:12px}}
`;

const FEELINGS: Record<string, string> = {
  joy: "#f0b429", sadness: "#5b7fb5", anger: "#d0493b", fear: "#8462a8", surprise: "#e58a3a", disgust: "#6d9146",
};
const LABELS: Record<string, string> = {
  connecting: "connecting …", initializing: "getting ready …", reconnecting: "connection lost, trying again …",
  ended: "this conversation has ended: reload the page", idle: "ready", listening: "listening",
  thinking: "thinking …", speaking: "speaking",
};
const LINE_S = 1.2; // a pause longer than this ends a caption line
const LINE_WORDS = 12;

export class Overlay {
  private readonly state = chip("vv-chip vv-state");
  private readonly notice = chip("vv-chip vv-notice");
  private readonly sound = document.createElement("button");
  private readonly chips = chip("vv-chips");
  private readonly words = chip("vv-words");
  private readonly parts: HTMLElement[] = [];
  private line = "";
  private gestures: { gesture: Gesture; chip: HTMLElement }[] = [];
  private emotion: HTMLElement | null = null;

  constructor(private readonly host: HTMLElement, onSound: () => void) {
    host.classList.add("vv-stage");
    const style = document.createElement("style");
    style.textContent = STYLE;
    const top = chip("vv-top");
    const bottom = chip("vv-bottom");
    this.sound.className = "vv-chip vv-sound";
    this.sound.textContent = "Sound is blocked: click to hear";
    this.sound.onclick = onSound;
    this.state.setAttribute("role", "status");
    this.notice.hidden = this.sound.hidden = true;
    top.append(this.state, this.notice, this.sound);
    bottom.append(this.chips, this.words);
    this.parts.push(style, top, bottom);
    host.append(...this.parts);
  }

  showState(state: string): void {
    if (this.state.dataset.state === state) return;
    this.state.dataset.state = state;
    this.state.textContent = LABELS[state] ?? state;
  }

  showNotice(text: string): void {
    this.notice.textContent = text;
    this.notice.hidden = text === "";
  }

  showSound(blocked: boolean): void {
    this.sound.hidden = !blocked;
  }

  ready(): void {
    this.host.classList.add("vv-ready");
  }

  /** A new turn: nothing of the old one stays. */
  clear(): void {
    this.chips.replaceChildren();
    this.words.replaceChildren();
    this.gestures = [];
    this.emotion = null;
    this.line = "";
    this.showNotice("");
  }

  addEmotion(name: string, intensity: number): void {
    if (!this.emotion) {
      this.emotion = chip("vv-chip vv-emotion");
      this.chips.prepend(this.emotion);
    }
    this.emotion.dataset.emotion = name;
    this.emotion.style.setProperty("--feeling", FEELINGS[name] ?? "#9aa5af");
    this.emotion.textContent = name === "neutral" ? name : `${name} ${Math.round(intensity * 100)} %`;
  }

  addGesture(gesture: Gesture): void {
    const element = chip("vv-chip vv-gesture");
    element.textContent = gesture.gloss;
    element.dataset.gloss = gesture.gloss;
    this.gestures.push({ gesture, chip: element });
    this.chips.append(element);
  }

  /** Light up what happens now: the line of the current word, and the gestures under way. */
  follow(timeS: number, words: Word[]): void {
    this.chips.classList.toggle("vv-over", timeS < 0);
    for (const { gesture, chip } of this.gestures)
      chip.classList.toggle("vv-now", timeS >= gesture.start_s && timeS <= gesture.end_s);
    let current = -1;
    for (let i = 0; i < words.length && words[i].start_s <= timeS; i++) current = i;
    if (current < 0 || timeS > words[current].end_s + LINE_S) {
      this.words.replaceChildren();
      this.line = "";
      return;
    }
    let from = 0;
    for (let i = 1; i <= current; i++) {
      const sentenceEnd = /[.!?]["')]?$/.test(words[i - 1].text);
      if (sentenceEnd || i - from >= LINE_WORDS || words[i].start_s - words[i - 1].end_s > LINE_S) from = i;
    }
    let to = current + 1;
    while (to < words.length && to - from < LINE_WORDS && !/[.!?]["')]?$/.test(words[to - 1].text)) to++;
    const key = `${from} ${current} ${to}`;
    if (key === this.line) return;
    this.line = key;
    const pieces: (HTMLElement | string)[] = [];
    for (let i = from; i < to; i++) {
      const word = document.createElement(i <= current ? "b" : "span");
      word.textContent = words[i].text;
      if (i === current) word.className = "vv-now";
      pieces.push(word, " ");
    }
    this.words.replaceChildren(...pieces);
  }

  dispose(): void {
    for (const part of this.parts) part.remove();
    this.host.classList.remove("vv-stage", "vv-ready");
  }
}

function chip(className: string): HTMLElement {
  const element = document.createElement("div");
  element.className = className;
  return element;
}
