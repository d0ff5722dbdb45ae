//! The template dependency structure of the dependency descriptor (AV1 RTP specification, A.8.2): what the frames of a
//! stream have in common, sent once with each keyframe.

use super::bit_reader::BitReader;
use super::dependency::{Layout, STRUCTURE_AT};
use super::vp9_structure;

/// Most templates: their ids have six bits.
pub const MAX_TEMPLATES: usize = 64;
/// Most decode targets: `dt_cnt_minus_one` has five bits.
pub const MAX_TARGETS: usize = 32;
/// Highest spatial and temporal layer that is taken; AV1 itself has 3 and 7.
const MAX_LAYER: u8 = 7;

/// What a decode target needs of a frame (table A.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indication {
    /// Nothing: it is not part of the target.
    NotPresent,
    /// No other frame of the target needs it.
    Discardable,
    /// Whoever can decode it can decode all that follows of the target.
    Switch,
    /// It is needed.
    Required,
}

/// The indications of one frame for all decode targets, two bits each, that of target 0 lowest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Indications(u64);

impl Indications {
    pub(super) fn read(bits: &mut BitReader<'_>, targets: u8) -> Option<Indications> {
        (0..targets).try_fold(0, |all, target| Some(all | (u64::from(bits.read(2)?) << (2 * target)))).map(Indications)
    }

    /// For a target below [`MAX_TARGETS`].
    pub fn get(self, target: u8) -> Indication {
        match self.0.checked_shr(2 * u32::from(target)).unwrap_or(0) & 3 {
            0 => Indication::NotPresent,
            1 => Indication::Discardable,
            2 => Indication::Switch,
            _ => Indication::Required,
        }
    }
}

/// What frames of one kind have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Template {
    /// Spatial layer, 0 to 7.
    pub spatial: u8,
    /// Temporal layer, 0 to 7.
    pub temporal: u8,
    /// For each decode target.
    pub indications: Indications,
    /// The frames referred to: bit `n` is the one `n + 1` before.
    pub references: u64,
}

/// The highest layers that belong to a decode target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Spatial layer.
    pub spatial: u8,
    /// Temporal layer.
    pub temporal: u8,
}

/// The decode targets of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    count: u8,
    layers: [Target; MAX_TARGETS],
}

impl Targets {
    /// All of them, in their order; at most 32.
    pub fn all(&self) -> &[Target] {
        &self.layers[..usize::from(self.count)]
    }

    /// How many, 1 to 32 in a structure that was read.
    pub fn count(&self) -> u8 {
        self.count
    }

    /// Bit by target: all.
    pub fn mask(&self) -> u32 {
        u32::MAX.checked_shr(32 - u32::from(self.count)).unwrap_or(0)
    }

    /// Bit by target: those that need nothing above the given layers.
    pub fn within(&self, spatial: u8, temporal: u8) -> u32 {
        let fits = |target: &Target| target.spatial <= spatial && target.temporal <= temporal;
        self.all().iter().enumerate().fold(0, |bits, (index, target)| bits | (u32::from(fits(target)) << index))
    }
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Structure {
    /// The template id of the first template, 0 to 63.
    pub id_offset: u8,
    /// The decode targets.
    pub targets: Targets,
    /// How many chains, at most as many as decode targets.
    pub chains: u8,
    /// Width and height in pixels of each spatial layer, where they are told.
    pub sizes: vp9_structure::Structure,
    count: u8,
    templates: [Template; MAX_TEMPLATES],
}

impl Structure {
    /// Reads a structure behind the flags of a descriptor; `None` when it is cut short or has more of anything than the
    /// ids can name.
    pub fn read(bits: &mut BitReader<'_>) -> Option<Structure> {
        let mut structure = Structure {
            id_offset: bits.read(6)? as u8,
            targets: Targets { count: bits.read(5)? as u8 + 1, ..Targets::default() },
            chains: 0,
            sizes: vp9_structure::Structure::default(),
            count: 0,
            templates: [Template::default(); MAX_TEMPLATES],
        };
        structure.read_layers(bits)?;
        let targets = structure.targets.count;
        for template in structure.templates_mut() {
            template.indications = Indications::read(bits, targets)?;
        }
        for template in structure.templates_mut() {
            while bits.flag()? {
                template.references |= 1 << bits.read(4)?;
            }
        }
        structure.read_chains(bits)?;
        structure.find_targets();
        structure.read_sizes(bits)?;
        Some(structure)
    }

    /// The structure in a descriptor that was read before; `None` where it has none.
    pub fn of(descriptor: &[u8], layout: &Layout) -> Option<Structure> {
        let bytes = descriptor.get(..usize::from(layout.len)).filter(|_| layout.has_structure())?;
        Structure::read(&mut BitReader::starting_at(bytes, STRUCTURE_AT))
    }

    /// The template with an id, 0 to 63; `None` for an id of another structure.
    pub fn template(&self, id: u8) -> Option<&Template> {
        self.templates().get(usize::from(id.wrapping_sub(self.id_offset) % MAX_TEMPLATES as u8))
    }

    /// Size of the largest layer, where it is told.
    pub fn size(&self) -> Option<(u16, u16)> {
        Some(self.sizes.size()).filter(|&(width, height)| width > 0 && height > 0)
    }

    /// All templates, 1 to 64.
    pub fn templates(&self) -> &[Template] {
        &self.templates[..usize::from(self.count)]
    }

    fn templates_mut(&mut self) -> &mut [Template] {
        &mut self.templates[..usize::from(self.count)]
    }

    /// `template_layers()`.
    fn read_layers(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        let mut layers = Template::default();
        loop {
            *self.templates.get_mut(usize::from(self.count))? = layers;
            self.count += 1;
            match bits.read(2)? {
                0 => {}
                1 => layers.temporal += 1,
                2 => (layers.spatial, layers.temporal) = (layers.spatial + 1, 0),
                _ => break,
            }
            if layers.spatial > MAX_LAYER || layers.temporal > MAX_LAYER {
                return None;
            }
        }
        self.sizes.count = layers.spatial + 1;
        Some(())
    }

    /// `template_chains()`; the differences in the templates are passed on as they are.
    fn read_chains(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        let targets = self.targets.count;
        self.chains = bits.below(u32::from(targets) + 1)? as u8;
        if self.chains > 0 {
            for _ in 0..targets {
                bits.below(u32::from(self.chains))?;
            }
            for _ in 0..u32::from(self.count) * u32::from(self.chains) {
                bits.read(4)?;
            }
        }
        Some(())
    }

    /// `decode_target_layers()`.
    fn find_targets(&mut self) {
        for index in 0..self.targets.count {
            let mut target = Target::default();
            let part = |template: &&Template| template.indications.get(index) != Indication::NotPresent;
            for template in self.templates().iter().filter(part) {
                target.spatial = target.spatial.max(template.spatial);
                target.temporal = target.temporal.max(template.temporal);
            }
            self.targets.layers[usize::from(index)] = target;
        }
    }

    /// `render_resolutions()`.
    fn read_sizes(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        if !bits.flag()? {
            return Some(());
        }
        for size in &mut self.sizes.sizes[..usize::from(self.sizes.count)] {
            let mut pixels = || Some((bits.read(16)? as u16).saturating_add(1));
            *size = (pixels()?, pixels()?);
        }
        Some(())
    }
}
