/** The avatar: a skinned glTF whose nodes carry VRM bone names and whose morph targets carry ARKit names. */

import { Mesh, Quaternion, Vector3, type Group, type Object3D } from "three";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";

import type { Body } from "./pose";

const FORWARD = new Vector3(0, 0, 1);
const MOST_HEAD_RAD = 0.8;
const MOST_EYE_RAD = 0.35;
const LEAN_RAD = 0.07;

export class Avatar {
  private readonly bones: (Object3D | null)[];
  private readonly morphs: { weights: number[]; index: number }[][];
  private readonly named: Map<string, Object3D>;
  private readonly a = new Quaternion();
  private readonly b = new Quaternion();
  private readonly at = new Vector3();
  private readonly wanted = new Vector3();
  readonly missing: string[];

  private constructor(readonly group: Group, boneNames: string[], morphNames: string[]) {
    this.named = new Map();
    const meshes: Mesh[] = [];
    group.traverse((thing) => {
      if (!this.named.has(thing.name)) this.named.set(thing.name, thing);
      if (thing instanceof Mesh) meshes.push(thing);
    });
    for (const mesh of meshes) {
      mesh.castShadow = true;
      mesh.receiveShadow = true;
      mesh.frustumCulled = false; // the box of the rest pose says nothing about the posed body
    }
    this.bones = boneNames.map((name) => this.named.get(name) ?? null);
    this.morphs = morphNames.map((name) =>
      meshes.flatMap((mesh) => {
        const index = mesh.morphTargetDictionary?.[name];
        return index === undefined || !mesh.morphTargetInfluences ? [] : [{ weights: mesh.morphTargetInfluences, index }];
      }),
    );
    this.missing = [
      ...boneNames.filter((_, i) => !this.bones[i]),
      ...morphNames.filter((_, i) => this.morphs[i].length === 0),
    ];
  }

  static async load(url: string, boneNames: string[], morphNames: string[]): Promise<Avatar> {
    const file = await new GLTFLoader().loadAsync(url);
    return new Avatar(file.scene, boneNames, morphNames);
  }

  /** Show a pose; the root is the position of the first bone, the hips. */
  pose(body: Body): void {
    for (let i = 0; i < this.bones.length; i++) this.bones[i]?.quaternion.fromArray(body.rotations, i * 4);
    this.bones[0]?.position.fromArray(body.root);
  }

  face(weights: Float32Array): void {
    for (let i = 0; i < this.morphs.length; i++)
      for (const target of this.morphs[i]) target.weights[target.index] = weights[i];
  }

  /** Lean towards and look at a point of the world, by `amount` in [0, 1], on top of the pose. */
  attend(point: Vector3, amount: number): void {
    const head = this.named.get("head");
    if (!head || amount < 0.001) return;
    this.bend("spine", LEAN_RAD * amount);
    this.bend("neck", -LEAN_RAD * amount * 0.5); // the face stays up
    head.updateWorldMatrix(true, false);
    this.turnTo("neck", head, point, 0.35 * amount, MOST_HEAD_RAD);
    this.turnTo("head", head, point, 0.75 * amount, MOST_HEAD_RAD);
    for (const name of ["leftEye", "rightEye"]) {
      const eye = this.named.get(name);
      if (eye) this.turnTo(name, eye, point, amount, MOST_EYE_RAD);
    }
  }

  /** Where a bone is, in the world. */
  where(name: string): [number, number, number] {
    const bone = this.named.get(name);
    if (!bone) return [NaN, NaN, NaN];
    bone.updateWorldMatrix(true, false);
    return bone.getWorldPosition(this.at).toArray();
  }

  private bend(name: string, angle: number): void {
    const bone = this.named.get(name);
    if (bone) bone.quaternion.multiply(this.a.setFromAxisAngle(this.at.set(1, 0, 0), angle));
  }

  /** Turn bone `name` so that `looker` faces `point` more by a share of the angle between. */
  private turnTo(name: string, looker: Object3D, point: Vector3, share: number, most: number): void {
    const bone = this.named.get(name);
    if (!bone?.parent) return;
    looker.updateWorldMatrix(true, false);
    this.wanted.copy(point).sub(looker.getWorldPosition(this.at)).normalize();
    const facing = this.at.copy(FORWARD).applyQuaternion(looker.getWorldQuaternion(this.a));
    const angle = facing.angleTo(this.wanted);
    if (angle < 1e-4) return;
    this.a.setFromUnitVectors(facing, this.wanted);
    const turn = this.b.identity().slerp(this.a, (Math.min(angle, most) / angle) * share);
    // world turn → the parent's frame: p⁻¹ · turn · p
    const parent = bone.parent.getWorldQuaternion(this.a);
    bone.quaternion.premultiply(turn.multiply(parent).premultiply(parent.invert()));
  }
}
