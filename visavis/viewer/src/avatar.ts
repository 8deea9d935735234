/**
 * The avatar: any VRM, 0.x or 1.0, ours or the user's, through three-vrm.
 *
 * Poses come as rotations of the 55 VRM bones with world-aligned rest frames, which are three-vrm's normalized bones.
 */

import { VRMLoaderPlugin, VRMUtils, type VRM, type VRMExpressionManager, type VRMHumanBoneName } from "@pixiv/three-vrm";
import { Mesh, Quaternion, Vector3, type Group, type Object3D } from "three";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";

import { PresetFit, type Shapes } from "./face";
import type { Body } from "./pose";

const MOST_HEAD_RAD = 0.8;
const MOST_EYE_RAD = 0.35;
const LEAN_RAD = 0.07;
const LOOK_DEGREES = 32; // an eye turns so far at a weight of 1
const ENOUGH_ARKIT = 20; // shapes of the 52 that a face must have to be driven by them
/** Bones that an avatar may lack, and which bone takes their rotation over. */
const TAKEN_OVER: Record<string, string> = {
  upperChest: "chest", chest: "spine", neck: "head", leftShoulder: "leftUpperArm", rightShoulder: "rightUpperArm",
};

/** What the server knows of the motion it sends. */
export interface Conventions {
  /** The 55 bones and the 52 face weights, in the order of the arrays. */
  bones: string[];
  morphs: string[];
  /** Height of the hips at rest, metres. */
  hipsHeight: number;
  /** Preset expressions as sums of ARKit shapes. */
  presets: Shapes;
}

export class Avatar {
  readonly group: Group;
  /** Bones and ARKit shapes that nothing of this avatar shows. */
  readonly missing: string[] = [];
  /** What shows the face: `arkit`, `presets` or `none`. */
  readonly faceKind: string;
  private readonly bones: (Object3D | null)[];
  private readonly takenOver: { from: number; by: number; above: boolean }[] = [];
  private readonly shapes: (string | null)[];
  private readonly fit: PresetFit;
  private readonly expressions: VRMExpressionManager | undefined;
  private readonly scale: number;
  private readonly sign: number;
  private readonly forward: Vector3;
  private readonly a = new Quaternion();
  private readonly b = new Quaternion();
  private readonly at = new Vector3();
  private readonly wanted = new Vector3();

  private constructor(private readonly vrm: VRM, private readonly known: Conventions) {
    VRMUtils.rotateVRM0(vrm); // these face away
    this.group = vrm.scene;
    this.sign = vrm.meta.metaVersion === "0" ? -1 : 1;
    this.forward = new Vector3(0, 0, this.sign);
    vrm.scene.traverse((thing) => {
      if (!(thing instanceof Mesh)) return;
      thing.castShadow = true;
      thing.receiveShadow = true;
      thing.frustumCulled = false; // the box of the rest pose says nothing about the posed body
    });
    this.bones = known.bones.map((name) => this.bone(name));
    known.bones.forEach((name, i) => {
      if (this.bones[i]) return;
      let other = TAKEN_OVER[name];
      while (other && !this.bone(other)) other = TAKEN_OVER[other];
      const by = known.bones.indexOf(other);
      if (by < 0) this.missing.push(name);
      else this.takenOver.push({ from: i, by, above: by > i });
    });
    this.takenOver.sort((x, y) => (x.above ? y.from - x.from : x.from - y.from));
    const hips = vrm.humanoid.normalizedRestPose.hips?.position;
    this.scale = hips && known.hipsHeight > 0 ? hips[1] / known.hipsHeight : 1;

    this.expressions = vrm.expressionManager;
    const custom = Object.keys(this.expressions?.customExpressionMap ?? {});
    const names = new Map(custom.map((name) => [plain(name), name]));
    this.shapes = known.morphs.map((name) => names.get(plain(name)) ?? null);
    const found = this.shapes.filter((name) => name !== null).length;
    const fitted = Object.fromEntries(
      Object.entries(known.presets).filter(([name]) => this.expressions?.getExpression(name)),
    );
    // Both lids together serve an avatar that cannot wink.
    if (fitted.blinkLeft && fitted.blinkRight) delete fitted.blink;
    this.faceKind = found >= ENOUGH_ARKIT ? "arkit" : Object.keys(fitted).length > 0 ? "presets" : "none";
    if (this.faceKind !== "presets") known.morphs.forEach((name, i) => this.shapes[i] ?? this.missing.push(name));
    this.fit = new PresetFit(fitted, known.morphs);
  }

  static async load(url: string, known: Conventions): Promise<Avatar> {
    const loader = new GLTFLoader();
    loader.register((parser) => new VRMLoaderPlugin(parser));
    const vrm = (await loader.loadAsync(url)).userData.vrm as VRM | undefined;
    if (!vrm) throw new Error("the avatar's file is glTF but no VRM: export it as VRM");
    return new Avatar(vrm, known);
  }

  /** Show a pose; the root is the position of the first bone, the hips. */
  pose(body: Body): void {
    for (let i = 0; i < this.bones.length; i++) this.bones[i]?.quaternion.copy(this.turned(body, i, this.a));
    for (const { from, by, above } of this.takenOver) {
      const bone = this.bones[by]!.quaternion;
      if (above) bone.premultiply(this.turned(body, from, this.a));
      else bone.multiply(this.turned(body, from, this.a));
    }
    const [x, y, z] = body.root;
    this.bones[0]?.position.set(x * this.scale * this.sign, y * this.scale, z * this.scale * this.sign);
  }

  face(weights: Float32Array): void {
    if (this.faceKind === "arkit") {
      for (let i = 0; i < this.shapes.length; i++) {
        const name = this.shapes[i];
        if (name !== null) this.expressions!.setValue(name, weights[i]);
      }
    } else {
      if (this.faceKind === "presets") {
        this.fit.fit(weights);
        this.fit.names.forEach((name, i) => this.expressions!.setValue(name, this.fit.weights[i]));
      }
      this.gaze(weights);
    }
  }

  /** Lean towards and look at a point of the world, by `amount` in [0, 1], on top of the pose. */
  attend(point: Vector3, amount: number): void {
    const head = this.bone("head");
    if (!head || amount < 0.001) return;
    this.bend("spine", LEAN_RAD * amount);
    this.bend("neck", -LEAN_RAD * amount * 0.5); // the face stays up
    head.updateWorldMatrix(true, false);
    this.turnTo("neck", head, point, 0.35 * amount, MOST_HEAD_RAD);
    this.turnTo("head", head, point, 0.75 * amount, MOST_HEAD_RAD);
    for (const name of ["leftEye", "rightEye"]) {
      const eye = this.bone(name);
      if (eye) this.turnTo(name, eye, point, amount, MOST_EYE_RAD);
    }
  }

  /** Bring pose, face and what swings by itself (hair, clothes) to the mesh; once a frame, after the rest. */
  update(dt: number): void {
    this.vrm.update(dt);
  }

  /** Where a bone is, in the world. */
  where(name: string): [number, number, number] {
    const bone = this.vrm.humanoid.getRawBoneNode(name as VRMHumanBoneName);
    if (!bone) return [NaN, NaN, NaN];
    bone.updateWorldMatrix(true, false);
    return bone.getWorldPosition(this.at).toArray();
  }

  private bone(name: string): Object3D | null {
    return this.vrm.humanoid.getNormalizedBoneNode(name as VRMHumanBoneName);
  }

  /** A bone's rotation; bodies that face -Z see x and z the other way. */
  private turned(body: Body, bone: number, out: Quaternion): Quaternion {
    const r = body.rotations, i = bone * 4;
    return out.set(r[i] * this.sign, r[i + 1], r[i + 2] * this.sign, r[i + 3]);
  }

  /** Without ARKit shapes the eyes' shapes turn the gaze, by bones or by expressions, as the avatar wants. */
  private gaze(weights: Float32Array): void {
    const look = this.vrm.lookAt;
    if (!look) return;
    const of = (name: string): number => weights[this.known.morphs.indexOf(name)] || 0;
    const left = of("eyeLookOutLeft") + of("eyeLookInRight") - of("eyeLookInLeft") - of("eyeLookOutRight");
    const down = of("eyeLookDownLeft") + of("eyeLookDownRight") - of("eyeLookUpLeft") - of("eyeLookUpRight");
    look.yaw = (LOOK_DEGREES * left) / 2;
    look.pitch = (LOOK_DEGREES * down) / 2;
  }

  private bend(name: string, angle: number): void {
    this.bone(name)?.quaternion.multiply(this.a.setFromAxisAngle(this.at.set(1, 0, 0), angle * this.sign));
  }

  /** Turn bone `name` so that `looker` faces `point` more by a share of the angle between. */
  private turnTo(name: string, looker: Object3D, point: Vector3, share: number, most: number): void {
    const bone = this.bone(name);
    if (!bone?.parent) return;
    looker.updateWorldMatrix(true, false);
    this.wanted.copy(point).sub(looker.getWorldPosition(this.at)).normalize();
    const facing = this.at.copy(this.forward).applyQuaternion(looker.getWorldQuaternion(this.a));
    const angle = facing.angleTo(this.wanted);
    if (angle < 1e-4) return;
    this.a.setFromUnitVectors(facing, this.wanted);
    const turn = this.b.identity().slerp(this.a, (Math.min(angle, most) / angle) * share);
    // world turn → the parent's frame: p⁻¹ · turn · p
    const parent = bone.parent.getWorldQuaternion(this.a);
    bone.quaternion.premultiply(turn.multiply(parent).premultiply(parent.invert()));
  }
}

/** Names of shapes as people write them: `EyeBlinkLeft`, `eyeBlink_L`. */
function plain(name: string): string {
  return name.toLowerCase().replace(/_l$/, "left").replace(/_r$/, "right").replaceAll("_", "");
}
