//! The dependency descriptor, a header extension that says what a frame depends on (AV1 RTP specification, appendix A).

#[cfg(test)]
pub(crate) mod tests;

use super::bit_reader::BitReader;
use super::dependency_structure::{Indication, Indications, Structure, Targets};

/// Length of the fields that every descriptor has, in bytes.
pub const MANDATORY: usize = 3;
/// Where a structure begins, in bits: behind five flags.
pub const STRUCTURE_AT: usize = MANDATORY * 8 + 5;

/// A frame number so far ahead lies behind.
const HALF: u16 = 0x8000;

/// Why a descriptor says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Cut short, or more of something than there can be.
    Malformed,
    /// It names a template that is not known: the packet with its structure was lost, or comes later.
    UnknownTemplate,
}

/// Where the parts of a descriptor lie that are written anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Its length in bytes.
    pub len: u8,
    /// Where the structure ends, in bits; [`STRUCTURE_AT`] without one.
    pub structure_end: u16,
    /// Where what is behind the bit mask of decode targets begins, in bits.
    pub tail_at: u16,
}

impl Layout {
    /// Whether there is a structure.
    pub fn has_structure(&self) -> bool {
        usize::from(self.structure_end) > STRUCTURE_AT
    }
}

/// What a descriptor says of its packet's frame, as far as a forwarder needs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Frame number.
    pub number: u16,
    /// Whether the frame begins with this packet.
    pub starts: bool,
    /// Whether it ends with it.
    pub ends: bool,
    /// Spatial layer, 0 to 7.
    pub spatial: u8,
    /// Temporal layer, 0 to 7.
    pub temporal: u8,
    /// The frames referred to: bit `n` is the one `n + 1` before; the last bit stands for all further back, too.
    pub references: u64,
    /// Whether it refers to nothing outside of its temporal unit.
    pub is_intra_unit: bool,
    /// Whether whoever can decode it can decode all that follows of a decode target of its spatial layer.
    pub switches: bool,
    /// Bit by decode target: those that the publisher says can be decoded.
    pub active: u32,
    /// Whether this packet says so.
    pub tells_active: bool,
    /// Whether a newer structure than the one in this packet has come.
    pub is_superseded: bool,
    /// Of the descriptor.
    pub layout: Layout,
    /// How many bytes lie between the beginning of the descriptor and that of the payload.
    pub head: u16,
}

impl Frame {
    /// Whether a new coded video sequence begins with this packet.
    pub fn starts_keyframe(&self) -> bool {
        self.starts && self.layout.has_structure() && !self.is_superseded
    }

    /// Whether it is of a layer that can be entered with it by those who have what lies below in its temporal unit.
    pub fn opens_layer(&self) -> bool {
        self.starts && self.switches && self.is_intra_unit
    }
}

/// What the descriptors of one stream refer to.
#[derive(Clone, Debug, Default)]
pub struct Dependencies {
    structure: Option<Box<Structure>>,
    /// The latest frame number, and how many frames before that the structure came, up to half of all numbers.
    newest: u16,
    age: u16,
    active: u32,
    /// Timestamp of the latest temporal unit, and the number of its first frame.
    unit: Option<(u32, u16)>,
}

impl Dependencies {
    /// The structure that came last.
    pub fn structure(&self) -> Option<&Structure> {
        self.structure.as_deref()
    }

    /// The stream begins anew, with numbers of its own.
    pub fn restart(&mut self) {
        *self = Dependencies::default();
    }

    /// Reads the descriptor of a packet with its RTP timestamp. [`Frame::head`] is left to the caller.
    pub fn read(&mut self, descriptor: &[u8], timestamp: u32) -> Result<Frame, Unreadable> {
        let mut bits = BitReader::new(descriptor);
        let fields = Fields::read(descriptor, &mut bits).ok_or(Unreadable::Malformed)?;
        let brought = match fields.brings_structure {
            true => Some(Structure::read(&mut bits).ok_or(Unreadable::Malformed)?),
            false => None,
        };
        let structure = brought.as_ref().or(self.structure.as_deref()).ok_or(Unreadable::UnknownTemplate)?;
        let mut frame = fields.frame(structure, &mut bits)?;
        if !fields.tells_active {
            frame.active = if brought.is_some() { structure.targets.mask() } else { self.active };
        }
        let back = self.advance(frame.number);
        frame.is_superseded = back > self.age;
        // What comes late is good for its own packet only.
        if back == 0 || (brought.is_some() && !frame.is_superseded) {
            self.active = frame.active;
        }
        if !frame.is_superseded
            && let Some(brought) = brought
        {
            self.age = back;
            match &mut self.structure {
                Some(known) => **known = brought,
                None => self.structure = Some(Box::new(brought)),
            }
        }
        frame.is_intra_unit = self.is_intra_unit(&frame, timestamp);
        Ok(frame)
    }

    /// Moves on to a frame number; how far it lies behind the latest.
    fn advance(&mut self, number: u16) -> u16 {
        if self.structure.is_none() {
            (self.newest, self.age) = (number, 0);
        }
        let forward = number.wrapping_sub(self.newest);
        if forward >= HALF {
            return self.newest.wrapping_sub(number);
        }
        (self.newest, self.age) = (number, self.age.saturating_add(forward).min(HALF));
        0
    }

    fn is_intra_unit(&mut self, frame: &Frame, timestamp: u32) -> bool {
        let first = match &mut self.unit {
            Some((unit, first)) if *unit == timestamp => {
                if first.wrapping_sub(frame.number) < HALF {
                    *first = frame.number;
                }
                *first
            }
            // Of a unit before the latest one, whose first frame is not known any more.
            Some((unit, _)) if timestamp.wrapping_sub(*unit) > u32::MAX / 2 => frame.number,
            unit => unit.insert((timestamp, frame.number)).1,
        };
        frame.references.checked_shr(u32::from(frame.number.wrapping_sub(first))).unwrap_or(0) == 0
    }
}

/// `mandatory_descriptor_fields()` and the flags of `extended_descriptor_fields()`.
struct Fields {
    len: u8,
    starts: bool,
    ends: bool,
    template: u8,
    number: u16,
    brings_structure: bool,
    tells_active: bool,
    custom_indications: bool,
    custom_references: bool,
    custom_chains: bool,
}

impl Fields {
    fn read(descriptor: &[u8], bits: &mut BitReader<'_>) -> Option<Fields> {
        let len = u8::try_from(descriptor.len()).ok()?;
        let (starts, ends) = (bits.flag()?, bits.flag()?);
        let (template, number) = (bits.read(6)? as u8, bits.read(16)? as u16);
        let is_extended = usize::from(len) > MANDATORY;
        let mut flag = || if is_extended { bits.flag() } else { Some(false) };
        Some(Fields {
            len,
            starts,
            ends,
            template,
            number,
            brings_structure: flag()?,
            tells_active: flag()?,
            custom_indications: flag()?,
            custom_references: flag()?,
            custom_chains: flag()?,
        })
    }

    /// What is behind the structure; `frame_dependency_definition()`.
    fn frame(&self, structure: &Structure, bits: &mut BitReader<'_>) -> Result<Frame, Unreadable> {
        let template = structure.template(self.template).ok_or(Unreadable::UnknownTemplate)?;
        let structure_end = bits.position().max(STRUCTURE_AT) as u16;
        let targets = &structure.targets;
        let mut read = || {
            let active = if self.tells_active { bits.read(u32::from(targets.count()))? } else { 0 };
            let tail_at = bits.position().max(STRUCTURE_AT) as u16;
            let indications = match self.custom_indications {
                true => Indications::read(bits, targets.count())?,
                false => template.indications,
            };
            let references = if self.custom_references { read_references(bits)? } else { template.references };
            let chains = if self.custom_chains { structure.chains } else { 0 };
            (0..chains).try_for_each(|_| bits.read(8).map(drop))?;
            Some((active, tail_at, indications, references))
        };
        let (active, tail_at, indications, references) = read().ok_or(Unreadable::Malformed)?;
        Ok(Frame {
            number: self.number,
            starts: self.starts,
            ends: self.ends,
            spatial: template.spatial,
            temporal: template.temporal,
            references,
            is_intra_unit: false,
            switches: switches(targets, indications, template.spatial),
            active,
            tells_active: self.tells_active,
            is_superseded: false,
            layout: Layout { len: self.len, structure_end, tail_at },
            head: 0,
        })
    }
}

/// `frame_fdiffs()`: 4, 8 or 12 bits each.
fn read_references(bits: &mut BitReader<'_>) -> Option<u64> {
    let mut references = 0;
    loop {
        match bits.read(2)? {
            0 => return Some(references),
            size => references |= 1 << bits.read(4 * size)?.min(63),
        }
    }
}

fn switches(targets: &Targets, indications: Indications, spatial: u8) -> bool {
    let mut of_layer = targets.all().iter().enumerate().filter(|(_, target)| target.spatial == spatial);
    of_layer.any(|(index, _)| indications.get(index as u8) == Indication::Switch)
}
