"""What a page does in the tests with browsers: it offers, answers, accepts, and shows what it made of it."""

SCRIPT = """
window.tracks = [];
window.start = async (direction, options = {}) => {
  window.connection = new RTCPeerConnection({ bundlePolicy: options.bundlePolicy || 'max-bundle' });
  connection.ontrack = (event) => tracks.push([event.track.kind, event.transceiver.mid, event.streams.length]);
  const stream = direction === 'recvonly' ? null :
    await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 640, height: 360 } });
  for (const kind of options.kinds || ['audio', 'video']) {
    const track = stream ? stream.getTracks().find((found) => found.kind === kind) : kind;
    const encodings = kind === 'video' && options.simulcast ? [{ rid: 'h' }, { rid: 'l' }] : undefined;
    connection.addTransceiver(track, {
      direction, ...(stream ? { streams: [stream] } : {}), ...(encodings ? { sendEncodings: encodings } : {}),
    });
  }
};
window.offer = async (options) => {
  await connection.setLocalDescription(await connection.createOffer(options));
  return connection.localDescription.sdp;
};
window.accept = (sdp) => connection.setRemoteDescription({ type: 'answer', sdp });
window.answer = async (sdp) => {
  await connection.setRemoteDescription({ type: 'offer', sdp });
  await connection.setLocalDescription(await connection.createAnswer());
  return connection.localDescription.sdp;
};
window.look = () => ({
  state: connection.signalingState,
  tracks,
  transceivers: connection.getTransceivers().map((found) => ({
    mid: found.mid, kind: found.receiver.track.kind, direction: found.currentDirection,
    sends: (found.sender.getParameters().codecs || []).map((codec) => codec.mimeType),
    formats: (found.sender.getParameters().codecs || []).map((codec) => codec.sdpFmtpLine || ''),
    receives: (found.receiver.getParameters().codecs || []).map((codec) => codec.mimeType),
    extensions: (found.sender.getParameters().headerExtensions || []).map((extension) => extension.uri),
    encodings: found.sender.getParameters().encodings.length,
  })),
});
null;
"""
