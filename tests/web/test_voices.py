"""Further voices of a conference, each by itself, in a page."""

from __future__ import annotations

import pytest

from tests.peers.chromium import Chromium
from tests.web.backend import Backend

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

# Tracks from an oscillator, and every player that is made for them.
_PLAYED = """
async count => {
  const {Voices} = await import('/web/voices.js');
  const players = [];
  const Made = window.Audio;
  window.Audio = function () { const player = new Made(); players.push(player); return player; };
  const context = new AudioContext();
  await context.resume();
  const made = () => {
    const end = context.createMediaStreamDestination();
    const tone = context.createOscillator();
    tone.connect(end);
    tone.start();
    return end.stream.getAudioTracks()[0];
  };
  const voices = new Voices();
  for (let number = 0; number < count; number += 1) voices.play(made());
  const began = performance.now();
  while (performance.now() - began < 5000 && players.some(player => !(player.currentTime > 0.1)))
    await new Promise(done => setTimeout(done, 50));
  const played = players.map(player => !player.paused && player.currentTime > 0.1);
  voices.close();
  return {played, left: players.map(player => player.srcObject)};
}
"""


async def test_every_voice_is_played_until_the_call_is_over(backend: Backend, browser: Chromium) -> None:
    tab = await browser.new_tab(backend.stack.origin + "/call/demo")
    found = await tab.page.evaluate(_PLAYED, 3)
    assert found == {"played": [True] * 3, "left": [None] * 3}
