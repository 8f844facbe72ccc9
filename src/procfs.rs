//! stub
use crate::process::Process;
use std::fs;
pub fn exe(pid: u32) -> Option<Vec<u8>> { Some(fs::read_link(format!("/proc/{pid}/exe")).ok()?.into_os_string().into_encoded_bytes()) }
pub fn container(_pid: u32) -> Option<String> { None }
pub fn pids() -> Vec<u32> { fs::read_dir("/proc").unwrap().filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok()).collect() }
pub fn descendants(_pid: u32) -> Vec<u32> { vec![] }
pub fn children(_pid: u32) -> Vec<u32> { vec![] }
pub fn exists(pid: u32) -> bool { fs::metadata(format!("/proc/{pid}")).is_ok() }
pub fn has_sockets(_pid: u32) -> bool { true }
pub fn process(pid: u32) -> Option<Process> { 
  let comm = fs::read(format!("/proc/{pid}/comm")).ok()?; let cmd = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
  Some(Process{pid, comm: comm.strip_suffix(b"\n").unwrap_or(&comm).to_vec(), exe: exe(pid), cmdline: cmd.split(|b|*b==0).map(|s|s.to_vec()).collect(), uid: None, ..Default::default()}) }
