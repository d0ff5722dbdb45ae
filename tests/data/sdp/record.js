// Makes one offer of each kind that a browser sends to this server; run by tests/data/sdp/record.py in a page.
async function makeOffer(kind) {
  const connection = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
  if (kind === "recvonly") {
    connection.addTransceiver("audio", { direction: "recvonly" });
    connection.addTransceiver("video", { direction: "recvonly" });
  } else {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 1280, height: 720 } });
    const direction = kind === "sendrecv" ? "sendrecv" : "sendonly";
    connection.addTransceiver(stream.getAudioTracks()[0], { direction, streams: [stream] });
    const sendEncodings = kind !== "simulcast" ? [] : [
      { rid: "h" }, { rid: "m", scaleResolutionDownBy: 2 }, { rid: "l", scaleResolutionDownBy: 4 },
    ];
    connection.addTransceiver(stream.getVideoTracks()[0], { direction, streams: [stream], sendEncodings });
    if (kind === "sendrecv") connection.createDataChannel("data");
  }
  const gathered = new Promise((resolve) => {
    connection.onicegatheringstatechange = () => connection.iceGatheringState === "complete" && resolve();
    setTimeout(resolve, 3000);
  });
  await connection.setLocalDescription(await connection.createOffer());
  await gathered;
  const { sdp } = connection.localDescription;
  connection.close();
  return sdp;
}
