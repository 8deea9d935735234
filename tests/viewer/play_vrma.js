// A page of somebody else: loads an avatar and an animation with three-vrm and three-vrm-animation, plays, and tells.
import { VRMLoaderPlugin, VRMUtils } from "@pixiv/three-vrm";
import { createVRMAnimationClip, VRMAnimationLoaderPlugin } from "@pixiv/three-vrm-animation";
import * as THREE from "three";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";

import { Avatar } from "../../visavis/viewer/src/avatar";

window.play = async (vrmUrl, vrmaUrl, times, bones, expressions) => {
  const warnings = [];
  for (const kind of ["warn", "error"]) console[kind] = (...what) => warnings.push(what.map(String).join(" "));
  const loader = new GLTFLoader();
  loader.register((parser) => new VRMLoaderPlugin(parser));
  loader.register((parser) => new VRMAnimationLoaderPlugin(parser));
  const vrm = (await loader.loadAsync(vrmUrl)).userData.vrm;
  VRMUtils.rotateVRM0(vrm);
  const mixer = new THREE.AnimationMixer(vrm.scene);
  let clip, tracks = 0;
  if (vrmaUrl) {
    const [animation] = (await loader.loadAsync(vrmaUrl)).userData.vrmAnimations;
    clip = createVRMAnimationClip(animation, vrm);
    tracks = clip.tracks.length;
    mixer.clipAction(clip).play();
  } else {
    const file = await new GLTFLoader().loadAsync(vrmUrl);
    mixer.clipAction(file.animations[0], vrm.scene).play(); // the animation inside the avatar's own file
  }
  const frames = [];
  for (const time of times) {
    mixer.setTime(time);
    vrm.humanoid.autoUpdateHumanBones = Boolean(vrmaUrl);
    if (vrmaUrl) vrm.update(0);
    vrm.scene.updateMatrixWorld(true);
    frames.push({
      bones: bones.map((name) => vrm.humanoid.getRawBoneNode(name).getWorldPosition(new THREE.Vector3()).toArray()),
      expressions: expressions.map((name) => vrm.expressionManager?.getValue(name) ?? null),
      gaze: [vrm.lookAt?.yaw ?? null, vrm.lookAt?.pitch ?? null],
    });
  }
  return { frames, tracks, warnings, duration: clip?.duration ?? null, meta: vrm.meta.metaVersion };
};

// One picture, so that people can look.
window.draw = async (vrmUrl, vrmaUrl, time) => {
  const loader = new GLTFLoader();
  loader.register((parser) => new VRMLoaderPlugin(parser));
  loader.register((parser) => new VRMAnimationLoaderPlugin(parser));
  const vrm = (await loader.loadAsync(vrmUrl)).userData.vrm;
  VRMUtils.rotateVRM0(vrm);
  const [animation] = (await loader.loadAsync(vrmaUrl)).userData.vrmAnimations;
  const mixer = new THREE.AnimationMixer(vrm.scene);
  mixer.clipAction(createVRMAnimationClip(animation, vrm)).play();
  mixer.setTime(time);
  vrm.update(0);
  const scene = new THREE.Scene();
  scene.background = new THREE.Color(0xe9eef2);
  scene.add(vrm.scene, new THREE.HemisphereLight(0xffffff, 0x8899aa, 2.5));
  const camera = new THREE.PerspectiveCamera(26, 0.8, 0.1, 30);
  camera.position.set(0, 1.15, 3.6);
  camera.lookAt(0, 1.05, 0);
  const renderer = new THREE.WebGLRenderer({ antialias: false });
  renderer.setSize(320, 400);
  document.body.replaceChildren(renderer.domElement);
  renderer.render(scene, camera);
};

// The viewer's own way: poses as they come over the socket, on any avatar.
window.pose = async (url, known, bodies, faces) => {
  const avatar = await Avatar.load(url, known);
  const morphs = [];
  const frames = bodies.map((body, i) => {
    avatar.pose(body);
    avatar.face(Float32Array.from(faces[i]));
    avatar.update(0);
    avatar.group.updateMatrixWorld(true);
    const mesh = [];
    avatar.group.traverse((thing) => thing.morphTargetInfluences && mesh.push([...thing.morphTargetInfluences]));
    morphs.push(mesh[0]);
    return known.bones.map((name) => avatar.where(name));
  });
  return { frames, morphs, missing: avatar.missing, faceKind: avatar.faceKind };
};
