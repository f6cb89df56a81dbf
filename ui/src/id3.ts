// The values of our frames in a tag of ID3v2.4 (docs/formats/indication.md). What does not fit is
// left out.
const DESCRIPTION = "selvedge\0";

export function values(tag: Uint8Array): string[] {
  const text = new TextDecoder("latin1");
  const found: string[] = [];
  if (tag.length < 10 || text.decode(tag.subarray(0, 3)) !== "ID3" || tag[3] !== 4) return found;
  const end = 10 + size(tag, 6);
  if (end > tag.length) return found;
  let at = 10;
  while (at + 10 <= end) {
    const name = text.decode(tag.subarray(at, at + 4));
    const body = tag.subarray(at + 10, at + 10 + size(tag, at + 4));
    at += 10 + size(tag, at + 4);
    // Encoding 3 is UTF-8.
    if (name !== "TXXX" || at > end || body[0] !== 3) continue;
    const said = new TextDecoder().decode(body.subarray(1));
    if (said.startsWith(DESCRIPTION)) found.push(said.slice(DESCRIPTION.length));
  }
  return found;
}

// Four bytes of seven bits.
function size(bytes: Uint8Array, at: number): number {
  return [0, 1, 2, 3].reduce((sum, n) => (sum << 7) | ((bytes[at + n] ?? 0) & 0x7f), 0);
}
