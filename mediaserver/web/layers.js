// Layers of a simulcast sender: those that nobody wants are switched off, which saves the sender's line and battery.

/** The layers of a camera, the smallest picture first. */
export const CAMERA_LAYERS = [
  { rid: "l", scaleResolutionDownBy: 4, maxBitrate: 150_000 },
  { rid: "m", scaleResolutionDownBy: 2, maxBitrate: 500_000 },
  { rid: "h", scaleResolutionDownBy: 1, maxBitrate: 1_800_000 },
];

/** Send the layers named by `rids` and no others; a browser that cannot switch them goes on with all. */
export async function sendLayers(sender, rids) {
  const parameters = sender.getParameters();
  let changed = false;
  for (const encoding of parameters.encodings ?? []) {
    const active = encoding.rid === undefined || rids.includes(encoding.rid);
    changed ||= encoding.active !== active;
    encoding.active = active;
  }
  if (!changed) return;
  try {
    await sender.setParameters(parameters);
  } catch (error) {
    // InvalidStateError: other parameters were asked for meanwhile; the next word of the server comes soon enough.
    console.info("layers stay as they are", error);
  }
}
