/** The room: light, ground, and a camera that keeps the upper body in view at every size of the page. */

import {
  NeutralToneMapping,
  CanvasTexture,
  CircleGeometry,
  DirectionalLight,
  HemisphereLight,
  Mesh,
  MeshBasicMaterial,
  PCFShadowMap,
  PerspectiveCamera,
  Scene,
  SRGBColorSpace,
  WebGLRenderer,
} from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";

// What must be seen, in metres: from the hips to above the head, and the room that gestures take.
const TOP_M = 1.84;
const HEIGHT_M = 1.1;
const WIDTH_M = 1.38;
const LOWEST_CENTRE_M = 0.9;
const FIELD_OF_VIEW = 26;
const SLOW_FRAME_S = 1 / 24;

export class Stage {
  readonly scene = new Scene();
  readonly camera = new PerspectiveCamera(FIELD_OF_VIEW, 1, 0.1, 30);
  private readonly renderer: WebGLRenderer;
  private readonly controls: OrbitControls;
  private readonly key: DirectionalLight;
  private readonly observer: ResizeObserver;
  private slow = 0;
  private economy = 0;

  /** Throws where there is no WebGL. */
  constructor(private readonly host: HTMLElement) {
    this.renderer = new WebGLRenderer({ antialias: true, alpha: true, powerPreference: "low-power" });
    this.renderer.outputColorSpace = SRGBColorSpace;
    this.renderer.toneMapping = NeutralToneMapping;
    this.renderer.toneMappingExposure = 1.12;
    this.renderer.shadowMap.enabled = true;
    this.renderer.shadowMap.type = PCFShadowMap;
    this.renderer.setPixelRatio(Math.min(window.devicePixelRatio, 2));
    this.renderer.domElement.className = "vv-canvas";
    this.renderer.domElement.setAttribute("role", "img");
    this.renderer.domElement.setAttribute("aria-label", "the avatar");
    host.prepend(this.renderer.domElement);

    this.scene.add(new HemisphereLight(0xf4f7ff, 0xb7a99a, 1.7));
    this.key = new DirectionalLight(0xfff1e0, 2.1);
    this.key.position.set(1.4, 3.1, 2.6);
    this.key.target.position.set(0, 1.1, 0);
    this.key.castShadow = true;
    this.key.shadow.mapSize.set(1024, 1024);
    this.key.shadow.radius = 6;
    this.key.shadow.normalBias = 0.02;
    Object.assign(this.key.shadow.camera, { left: -1.3, right: 1.3, top: 1.3, bottom: -1.6, near: 0.5, far: 8 });
    const fill = new DirectionalLight(0xdce8ff, 0.7);
    fill.position.set(-2.4, 1.6, 1.8);
    const rim = new DirectionalLight(0xffffff, 1.3);
    rim.position.set(-0.8, 2.4, -2.8);
    this.scene.add(this.key, this.key.target, fill, rim, ...ground());

    this.controls = new OrbitControls(this.camera, this.renderer.domElement);
    this.controls.enablePan = false;
    this.controls.enableDamping = true;
    this.controls.minPolarAngle = 1.1;
    this.controls.maxPolarAngle = 1.68; // never below the floor
    this.controls.minAzimuthAngle = -1.2;
    this.controls.maxAzimuthAngle = 1.2;
    this.resize();
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(host);
  }

  /** Draw one frame; where drawing is slow, pixels and shadows are given up, step by step. */
  draw(dt: number): void {
    this.controls.update();
    this.renderer.render(this.scene, this.camera);
    this.slow = dt > SLOW_FRAME_S ? this.slow + Math.min(dt / SLOW_FRAME_S, 4) : Math.max(0, this.slow - 1);
    if (this.slow < 100 || this.economy === 3) return;
    this.slow = 0;
    this.economy++;
    if (this.economy === 1) this.renderer.setPixelRatio(1);
    else if (this.economy === 2) this.key.castShadow = false;
    else this.renderer.setPixelRatio(0.8);
    this.resize();
  }

  dispose(): void {
    this.observer.disconnect();
    this.controls.dispose();
    this.scene.traverse((thing) => {
      if (!(thing instanceof Mesh)) return;
      thing.geometry.dispose();
      for (const material of [thing.material].flat()) material.dispose();
    });
    this.renderer.dispose();
    this.renderer.domElement.remove();
  }

  private resize(): void {
    const width = Math.max(1, this.host.clientWidth);
    const height = Math.max(1, this.host.clientHeight);
    this.renderer.setSize(width, height, false);
    this.camera.aspect = width / height;
    const tangent = Math.tan((FIELD_OF_VIEW * Math.PI) / 360);
    const distance = Math.max(HEIGHT_M / 2 / tangent, WIDTH_M / 2 / (tangent * this.camera.aspect));
    const direction = this.camera.position.clone().sub(this.controls.target);
    // The head stays near the top of the picture, whatever its shape.
    this.controls.target.set(0, Math.max(LOWEST_CENTRE_M, TOP_M - distance * tangent), 0);
    if (direction.lengthSq() < 1e-6) direction.set(0, 0.02, 1); // the first time
    this.camera.position.copy(this.controls.target).add(direction.setLength(distance));
    this.controls.minDistance = distance * 0.55;
    this.controls.maxDistance = distance * 2.2;
    this.camera.updateProjectionMatrix();
    // A new size empties the canvas, and both callers come after the frame was drawn: it would be shown empty.
    this.controls.update();
    this.renderer.render(this.scene, this.camera);
  }
}

/** A floor that fades into the page, and a soft shadow where the feet stand. */
function ground(): Mesh[] {
  return [disc(1.9, "255,255,255", 0.85, 0), disc(0.5, "40,55,70", 0.42, 0.002)];
}

function disc(radius: number, colour: string, opacity: number, height: number): Mesh {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 256;
  const pen = canvas.getContext("2d");
  if (pen) {
    const fade = pen.createRadialGradient(128, 128, 4, 128, 128, 128);
    fade.addColorStop(0, `rgba(${colour},${opacity})`);
    fade.addColorStop(0.55, `rgba(${colour},${opacity * 0.4})`);
    fade.addColorStop(1, `rgba(${colour},0)`);
    pen.fillStyle = fade;
    pen.fillRect(0, 0, 256, 256);
  }
  const texture = new CanvasTexture(canvas);
  texture.colorSpace = SRGBColorSpace;
  const material = new MeshBasicMaterial({ map: texture, transparent: true, depthWrite: false, toneMapped: false });
  const mesh = new Mesh(new CircleGeometry(radius, 48), material);
  mesh.rotation.x = -Math.PI / 2;
  mesh.position.y = height;
  return mesh;
}
