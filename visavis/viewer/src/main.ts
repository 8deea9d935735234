/** The viewer of visavis: an avatar that speaks, moves and waits, fed by one socket. `mount` is all there is. */

import { Avatar, type Conventions } from "./avatar";
import { Overlay } from "./overlay";
import { Player } from "./player";
import { Socket } from "./socket";
import { Stage } from "./stage";
import type { Message } from "./wire";

export interface Options extends Conventions {
  /** Address of the socket (ws:// or wss://), with its session. */
  socketUrl: string;
  /** Address of the avatar's .vrm. */
  avatarUrl: string;
}

/** What tests and the curious may read; nothing of the viewer lives in globals. */
export interface Debug {
  framesDrawn: number;
  motionFramesApplied: number;
  source: string;
  state: string;
  connection: string;
  turnId: string;
  positionS: number;
  jawOpen: number;
  jawOpenMost: number;
  leftWrist: number[];
  rightWrist: number[];
  audioSeconds: number;
  audioPeak: number;
  audible: boolean;
  idleChunks: number;
  turnsEnded: number;
  ready: boolean;
  missing: string[];
  faceKind: string;
  errors: string[];
}

export interface Viewer {
  readonly debug: Debug;
  /** Sound off or on; the mouth goes on. */
  mute(muted: boolean): void;
  /** Stop what is being said, at once. */
  stop(): void;
  /** The user is typing: the body attends. */
  typing(active: boolean): void;
  /** Take a new connection, as after a loss. */
  reconnect(): void;
  dispose(): void;
}

const MOST_DT_S = 0.1;

export function mount(host: HTMLElement, options: Options): Viewer {
  const debug: Debug = {
    framesDrawn: 0, motionFramesApplied: 0, source: "", state: "initializing", connection: "connecting", turnId: "",
    positionS: 0, jawOpen: 0, jawOpenMost: 0, leftWrist: [], rightWrist: [], audioSeconds: 0, audioPeak: 0,
    audible: false, idleChunks: 0, turnsEnded: 0, ready: false, missing: [], faceKind: "", errors: [],
  };
  const jaw = options.morphs.indexOf("jawOpen");
  const life = new AbortController();
  const fail = (error: unknown): void => {
    const text = error instanceof Error ? error.message : String(error);
    debug.errors.push(text);
    console.error("visavis viewer:", error);
  };

  let disposed = false;
  let awaited = false; // the avatar is on its way
  let attention = 0;
  let attentive = false;
  let avatar: Avatar | null = null;
  let stage: Stage | null = null;

  const overlay = new Overlay(host, () => player.sound.unlock());
  const player = new Player({
    send: (message) => socket.send(message),
    turnBegan: () => overlay.clear(),
    emotion: (name, intensity) => overlay.addEmotion(name, intensity),
    gesture: (gesture) => overlay.addGesture(gesture),
  });
  const socket = new Socket(
    options.socketUrl,
    receive,
    (connection) => {
      debug.connection = connection;
      showState();
    },
    fail,
  );

  function receive(message: Message): void {
    if (message.type === "session.state") debug.state = message.state as string;
    if (message.type === "degraded") overlay.showNotice(`${message.what}: ${message.stand_in}`);
    if (message.type === "error") overlay.showNotice(message.message as string);
    player.receive(message);
    showState();
  }

  /** The server says what it does; while it is done but the turn still sounds, the avatar is speaking. */
  function showState(): void {
    if (debug.connection !== "open") overlay.showState(debug.connection);
    else if (player.turn && player.turn.zeroS !== null) overlay.showState("speaking");
    else if (awaited) overlay.showState("initializing");
    else if (attentive && debug.state !== "thinking") overlay.showState("listening");
    else if (debug.state === "speaking") overlay.showState(player.turn ? "thinking" : "idle");
    else overlay.showState(debug.state);
  }

  try {
    stage = new Stage(host);
  } catch (error) {
    debug.errors.push(`no WebGL: ${error instanceof Error ? error.message : error}`);
    overlay.showNotice("This browser shows no WebGL: you hear the avatar but cannot see it.");
  }
  const placed = stage;
  awaited = placed !== null;
  if (placed)
    Avatar.load(options.avatarUrl, options).then((loaded) => {
      if (disposed) return;
      avatar = loaded;
      debug.missing = loaded.missing;
      debug.faceKind = loaded.faceKind;
      placed.scene.add(loaded.group);
    }, (error) => {
      awaited = false;
      overlay.showNotice(`The avatar could not be loaded: ${error instanceof Error ? error.message : error}`);
      fail(error);
    });

  let last = performance.now() / 1000;
  let endedTurn = "";
  function step(): void {
    const now = performance.now() / 1000;
    const dt = now - last;
    last = now;
    if (socket.connection === "open")
      player.idle.refill(now, (start_s, frames) => socket.send({ type: "idle.request", start_s, frames }));
    const alive = player.frame(Math.min(dt, MOST_DT_S));
    const turn = player.turn;
    if (endedTurn && turn?.id !== endedTurn) debug.turnsEnded++;
    endedTurn = turn?.id ?? "";
    overlay.follow(turn && turn.zeroS !== null ? player.heardS : -1, player.words);
    overlay.showSound(player.sound.blocked && turn !== null);
    showState();
    const wanted = attentive ? 1 : !turn && (debug.state === "listening" || debug.state === "thinking") ? 0.4 : 0;
    attention += (wanted - attention) * (1 - Math.exp(-Math.min(dt, MOST_DT_S) / 0.25));
    if (alive && avatar && placed) {
      avatar.pose(player.body);
      avatar.face(player.face);
      avatar.attend(placed.camera.position, attention);
      avatar.update(Math.min(dt, MOST_DT_S));
      if (!debug.ready) {
        debug.ready = true;
        awaited = false;
        overlay.ready();
      }
      debug.motionFramesApplied++;
      debug.leftWrist = avatar.where("leftHand");
      debug.rightWrist = avatar.where("rightHand");
    }
    debug.source = player.source;
    debug.turnId = turn?.id ?? "";
    debug.positionS = player.heardS;
    debug.jawOpen = jaw < 0 ? 0 : player.face[jaw];
    debug.jawOpenMost = Math.max(debug.jawOpenMost, debug.jawOpen);
    debug.audioSeconds = player.sound.playedS;
    debug.audioPeak = player.sound.peak;
    debug.audible = player.sound.audible;
    debug.idleChunks = player.idle.chunks;
    placed?.draw(dt);
    debug.framesDrawn++;
  }

  let request = 0;
  let lastFrame = 0;
  const guarded = (): void => {
    try {
      step();
    } catch (error) {
      if (debug.errors.length < 20) fail(error);
    }
  };
  const loop = (): void => {
    if (disposed) return;
    if (!host.isConnected) {
      viewer.dispose(); // the page has taken the element away
      return;
    }
    lastFrame = performance.now();
    guarded();
    request = requestAnimationFrame(loop);
  };
  request = requestAnimationFrame(loop);
  // Hidden tabs draw nothing, but the voice goes on: keep its clock and the reports going.
  const timer = window.setInterval(() => {
    if (performance.now() - lastFrame > 400) player.pump();
  }, 250);

  // A click or a key press anywhere is the permission for sound that browsers ask for.
  for (const kind of ["pointerdown", "keydown", "touchend"])
    document.addEventListener(kind, () => player.sound.unlock(), { signal: life.signal, capture: true });

  const viewer: Viewer = {
    debug,
    mute: (muted) => {
      player.sound.muted = muted;
    },
    stop: () => {
      const turn = player.turn;
      if (!turn) return;
      player.cut();
      socket.send({ type: "response.cancel", turn_id: turn.id });
    },
    typing: (active) => {
      if (attentive === active) return;
      attentive = active;
      socket.send({ type: "input.event", name: active ? "typing_started" : "typing_stopped" });
    },
    reconnect: () => socket.renew(),
    dispose: () => {
      if (disposed) return;
      disposed = true;
      cancelAnimationFrame(request);
      clearInterval(timer);
      life.abort();
      socket.close();
      player.dispose();
      stage?.dispose();
      overlay.dispose();
    },
  };
  return viewer;
}
