//! NVIDIA GPUs as the driver reports them (NVML). The library is opened on each query, so llamero runs on machines
//! without it.

use super::Hint;
use crate::resource::{Bytes, Gpu};
use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;
use std::time::Duration;

/// The longest wait for the driver, which wakes sleeping GPUs first.
const DEADLINE: Duration = Duration::from_secs(10);

/// A failure to query the GPUs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no driver, or it answers with an error.
    #[error("cannot query the NVIDIA driver")]
    Driver(#[source] NvmlError),
    /// It does not answer at all.
    #[error("the NVIDIA driver did not answer within {} s", DEADLINE.as_secs())]
    Deadline,
}

impl Hint for Error {}

/// Returns the machine's GPUs in the order of the PCI bus.
pub async fn all() -> Result<Vec<Gpu>, Error> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    // A thread that is never joined: a driver that hangs does not return.
    std::thread::spawn(move || {
        let _ = sender.send(ask());
    });
    match tokio::time::timeout(DEADLINE, receiver).await {
        Ok(Ok(gpus)) => gpus.map_err(Error::Driver),
        Ok(Err(_)) | Err(_) => Err(Error::Deadline),
    }
}

fn ask() -> Result<Vec<Gpu>, NvmlError> {
    let driver = Nvml::init()?;
    let gpu = |index: u32| {
        let device = driver.device_by_index(index)?;
        let memory = Bytes(device.memory_info()?.total);
        Ok(Gpu { index, uuid: device.uuid()?, name: device.name()?, memory })
    };
    (0..driver.device_count()?).map(gpu).collect()
}
