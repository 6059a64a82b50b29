//! Budgets of GPU memory on the GPUs of the machine.

use super::build::Builder;
use crate::manifest::{Entry, Provider, Size, Spanned};
use crate::resource::{Bytes, Gpu, GpuDevice, Note};

/// The number of parts in which a share of a GPU is written.
const PARTS: u64 = 10_000;

impl Builder<'_> {
    /// Returns the share of a GPU that each of a provider's servers may take, such as `0.4267`, where the manifest says
    /// a budget. On several GPUs it is the budget on each of them, and several servers share it evenly.
    pub(super) fn share_of_gpu(&mut self, provider: &Entry<Provider>, servers: usize) -> Option<String> {
        let memory = provider.value.memory.as_ref()?;
        let path = format!("providers.{}.memory", provider.name.value);
        match self.smallest_gpu(provider, memory) {
            Ok(smallest) => {
                let each = memory.value.0.0 / u64::try_from(servers).unwrap_or(u64::MAX).max(1);
                // Rounded down: it must not be more than was allowed.
                let parts = (u128::from(each) * u128::from(PARTS) / u128::from(smallest.0.max(1))).max(1);
                Some(format!("0.{parts:04}"))
            }
            Err(note) => {
                self.note(note, path, &memory.span);
                None
            }
        }
    }

    /// Returns the memory of the smallest of a provider's GPUs, if it has as much as may be taken.
    fn smallest_gpu(&self, provider: &Entry<Provider>, memory: &Spanned<Size>) -> Result<Bytes, Note> {
        let hint = "leave `memory` out, or say the share as `settings: {gpu_memory_utilization: 0.5}`";
        let unknown = |why: &str| {
            let note = Note::error("unknown-gpu", format!("how much memory a GPU has here is not known: {why}"));
            note.hint(hint)
        };
        let all = match &self.facts.gpus {
            Some(Ok(all)) if !all.is_empty() => all,
            Some(Ok(_)) => return Err(unknown("the driver reports none")),
            Some(Err(why)) => return Err(unknown(why)),
            None => return Err(unknown("it was not queried")),
        };
        let mut chosen: Vec<&Gpu> = Vec::new();
        for device in &provider.value.gpus {
            if matches!(device.value, GpuDevice::Mig(_)) {
                return Err(unknown("llamero does not ask how large a part of a GPU is"));
            }
            let live = all.iter().find(|gpu| gpu.is(&device.value)).ok_or_else(|| {
                let there: Vec<String> = all.iter().map(|gpu| format!("{} ({})", gpu.index, gpu.name)).collect();
                let note = Note::error("unknown-gpu", format!("there is no GPU `{}` here", device.value));
                note.hint(format!("there are: {}", there.join(", ")))
            })?;
            chosen.push(live);
        }
        let gpus = if chosen.is_empty() { all.iter().collect() } else { chosen };
        let smallest = gpus.into_iter().min_by_key(|gpu| gpu.memory).ok_or_else(|| unknown("there is none"))?;
        if memory.value.0 >= smallest.memory {
            let asked = memory.value.0;
            let message = format!(
                "GPU {} ({}) has {}, and {asked} are asked for",
                smallest.index, smallest.name, smallest.memory
            );
            return Err(Note::error("over-budget", message).hint("lower it: a GPU is never free to the last byte"));
        }
        Ok(smallest.memory)
    }

    /// Reports GPUs of which more is requested than they have.
    pub(super) fn check_gpus(&mut self) {
        let Some(Ok(all)) = &self.facts.gpus else { return };
        for gpu in all {
            let on_it = |provider: &&Entry<Provider>| {
                let gpus = &provider.value.gpus;
                // By default it takes the first one.
                gpus.iter().any(|device| gpu.is(&device.value)) || (gpus.is_empty() && gpu.index == 0)
            };
            let claims: Vec<_> = self.manifest.providers.iter().filter(on_it).collect();
            let claims: Vec<(&str, &Spanned<Size>)> = claims
                .into_iter()
                .filter_map(|provider| Some((provider.name.value.as_str(), provider.value.memory.as_ref()?)))
                .collect();
            let sum: Bytes = claims.iter().map(|(_, claim)| claim.value.0).sum();
            let Some((name, last)) = claims.last().filter(|_| claims.len() > 1 && sum > gpu.memory) else { continue };
            let who: Vec<String> = claims.iter().map(|(name, claim)| format!("`{name}` {}", claim.value.0)).collect();
            let message = format!("GPU {} ({}) has {}, and {sum} are asked for", gpu.index, gpu.name, gpu.memory);
            let note = Note::error("over-budget", message).hint(format!("lower one of these: {}", who.join(", ")));
            self.notes.push((note, format!("providers.{name}.memory"), last.span.clone()));
        }
    }
}
