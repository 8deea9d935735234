"""Runs inside Blender: import a file and write where bones are. Arguments after `--`: FILE OUT FRAMES BONES (JSON)."""

import builtins
import json
import sys

import bpy

# Blender 3.4's BVH reader opens files in a mode that Python 3.11 no longer knows.
_open = builtins.open
builtins.open = lambda file, mode="r", *more, **named: _open(file, mode.replace("U", ""), *more, **named)

path, out, frames, bones = sys.argv[sys.argv.index("--") + 1 :]
bpy.ops.wm.read_factory_settings(use_empty=True)
scene = bpy.context.scene
scene.render.fps = 30
first = 0
if path.endswith(".bvh"):
    first = 1
    bpy.ops.import_anim.bvh(
        filepath=path, global_scale=0.01, frame_start=first, use_fps_scale=False, axis_forward="-Z", axis_up="Y"
    )
else:
    import numpy

    numpy.bool = bool  # its glTF reader speaks to an older numpy
    bpy.ops.import_scene.gltf(filepath=path)
body = next(thing for thing in scene.objects if thing.type == "ARMATURE")
found = []
for frame in json.loads(frames):
    scene.frame_set(first + frame)
    row = []
    for name in json.loads(bones):
        x, y, z = body.matrix_world @ body.pose.bones[name].head
        row.append([x, z, -y])  # Blender's Z is up
    found.append(row)
with open(out, "w") as written:
    json.dump(found, written)
