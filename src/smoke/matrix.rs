//! `--matrix firmware=bios,uefi bus=virtio,nvme`: every combination of what is listed.

use std::fmt;

/// What can vary, in the order of the table's columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Axis {
    /// Which kernel the disk is built with.
    Kernel,
    /// What starts the kernel.
    Firmware,
    /// What executes the guest.
    Accel,
    /// What the disk is attached to.
    Bus,
    /// The network card.
    Nic,
    /// Which of several times it is: `--repeat`, and no axis that can be written.
    Run,
}

/// Most combinations of one matrix: each is a boot.
const MOST: usize = 256;

impl Axis {
    const ALL: [Axis; 5] = [Axis::Kernel, Axis::Firmware, Axis::Accel, Axis::Bus, Axis::Nic];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Axis::Kernel => "kernel",
            Axis::Firmware => "firmware",
            Axis::Accel => "accel",
            Axis::Bus => "bus",
            Axis::Nic => "nic",
            Axis::Run => "run",
        }
    }

    /// What it can be; empty when that is anything.
    fn values(self) -> &'static [&'static str] {
        match self {
            Axis::Kernel | Axis::Run => &[],
            Axis::Firmware => &["bios", "uefi", "direct"],
            Axis::Accel => &["kvm", "hvf", "tcg"],
            Axis::Bus => &["virtio", "nvme", "ahci", "scsi", "ide", "usb"],
            Axis::Nic => &["virtio", "e1000", "none"],
        }
    }
}

/// Why text is not an axis of a matrix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MatrixError {
    /// Not NAME=VALUE,VALUE.
    #[error("axis of the matrix is not of the form NAME=VALUE,VALUE: {0}")]
    Shape(String),
    /// Not a name.
    #[error("unknown axis of the matrix (there are kernel, firmware, accel, bus and nic): {0}")]
    Name(String),
    /// Not a value.
    #[error("unknown {axis} in the matrix (there are {known}): {value}")]
    Value {
        /// The axis.
        axis: &'static str,
        /// What it can be.
        known: String,
        /// What it was to be.
        value: String,
    },
    /// One axis, or one value, twice.
    #[error("in the matrix twice: {0}")]
    Twice(String),
    /// Too much.
    #[error("matrix has {0} combinations, at most {MOST} are run")]
    Large(usize),
}

/// The axes with their values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matrix(Vec<(Axis, Vec<String>)>);

/// One value for some of the axes, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Combination(Vec<(Axis, String)>);

impl Matrix {
    /// Reads axes, each `NAME=VALUE,VALUE`.
    ///
    /// # Errors
    /// See [`MatrixError`].
    pub fn parse<'a>(axes: impl IntoIterator<Item = &'a str>) -> Result<Matrix, MatrixError> {
        let mut matrix = Matrix::default();
        for text in axes {
            let (name, values) = text.split_once('=').ok_or_else(|| MatrixError::Shape(text.into()))?;
            matrix.add(name, values.split(','))?;
        }
        matrix.0.sort_by_key(|(axis, _)| *axis);
        match matrix.0.iter().map(|(_, values)| values.len()).try_fold(1usize, |all, n| all.checked_mul(n)) {
            Some(0..=MOST) => Ok(matrix),
            large => Err(MatrixError::Large(large.unwrap_or(usize::MAX))),
        }
    }

    fn add<'a>(&mut self, name: &str, values: impl Iterator<Item = &'a str>) -> Result<(), MatrixError> {
        let axis = Axis::ALL.into_iter().find(|axis| axis.name() == name);
        let axis = axis.ok_or_else(|| MatrixError::Name(name.into()))?;
        if self.0.iter().any(|(known, _)| *known == axis) {
            return Err(MatrixError::Twice(name.into()));
        }
        let mut list: Vec<String> = Vec::new();
        for value in values {
            if value.is_empty() || !axis.values().is_empty() && !axis.values().contains(&value) {
                let known = if axis.values().is_empty() { "any kernel".into() } else { axis.values().join(", ") };
                return Err(MatrixError::Value { axis: axis.name(), known, value: value.into() });
            }
            if list.iter().any(|known| known == value) {
                return Err(MatrixError::Twice(format!("{name}={value}")));
            }
            list.push(value.to_owned());
        }
        self.0.push((axis, list));
        Ok(())
    }

    /// Every combination, the last axis turning fastest; one empty combination when there are no axes.
    pub fn combinations(&self) -> Vec<Combination> {
        self.0.iter().fold(vec![Combination::default()], |shorter, (axis, values)| {
            let longer = |combination: &Combination, value: &String| {
                Combination(combination.0.iter().cloned().chain([(*axis, value.clone())]).collect())
            };
            shorter.iter().flat_map(|one| values.iter().map(|value| longer(one, value)).collect::<Vec<_>>()).collect()
        })
    }

    /// The values of an axis; none when it does not vary.
    pub fn values(&self, axis: Axis) -> &[String] {
        self.0.iter().find(|(known, _)| *known == axis).map_or(&[], |(_, values)| values)
    }
}

impl Combination {
    /// The same, this often; each knows which time it is when there are several.
    pub fn repeated(self, times: u16) -> impl Iterator<Item = Combination> {
        (1..=times).map(move |time| {
            let run = (times > 1).then(|| (Axis::Run, time.to_string()));
            Combination(self.0.iter().cloned().chain(run).collect())
        })
    }

    /// What a matrix can say of it: every axis but which time it is.
    pub fn axes(&self) -> impl Iterator<Item = (Axis, &str)> {
        self.0.iter().filter(|(axis, _)| *axis != Axis::Run).map(|(axis, value)| (*axis, value.as_str()))
    }

    /// The value of an axis.
    pub fn get(&self, axis: Axis) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == axis).map(|(_, value)| value.as_str())
    }
}

impl fmt::Display for Combination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (axis, value)) in self.0.iter().enumerate() {
            write!(f, "{}{}={value}", if i == 0 { "" } else { " " }, axis.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_once() {
        let matrix = Matrix::parse(["bus=virtio,nvme", "firmware=bios,uefi"]).unwrap();
        let shown: Vec<String> = matrix.combinations().iter().map(Combination::to_string).collect();
        assert_eq!(
            shown,
            [
                "firmware=bios bus=virtio",
                "firmware=bios bus=nvme",
                "firmware=uefi bus=virtio",
                "firmware=uefi bus=nvme"
            ]
        );
        assert_eq!(Matrix::parse([]).unwrap().combinations(), [Combination::default()]);
        let kernels = Matrix::parse(["kernel=a,b/c"]).unwrap();
        assert_eq!(kernels.combinations()[1].get(Axis::Kernel), Some("b/c"));
    }

    #[test]
    fn what_is_repeated_knows_which_time_it_is() {
        let one = Matrix::parse(["bus=nvme"]).unwrap().combinations().remove(0);
        assert_eq!(one.clone().repeated(1).map(|one| one.to_string()).collect::<Vec<_>>(), ["bus=nvme"]);
        assert_eq!(
            one.repeated(2).map(|one| one.to_string()).collect::<Vec<_>>(),
            ["bus=nvme run=1", "bus=nvme run=2"]
        );
        assert!(Matrix::parse(["run=1"]).is_err());
    }

    #[test]
    fn what_is_no_matrix_is_named() {
        for (axes, message) in [
            (vec!["bus"], "axis of the matrix is not of the form NAME=VALUE,VALUE: bus"),
            (vec!["disk=x"], "unknown axis of the matrix (there are kernel, firmware, accel, bus and nic): disk"),
            (vec!["accel=xen"], "unknown accel in the matrix (there are kvm, hvf, tcg): xen"),
            (vec!["bus="], "unknown bus in the matrix (there are virtio, nvme, ahci, scsi, ide, usb): "),
            (vec!["bus=ide,ide"], "in the matrix twice: bus=ide"),
            (vec!["bus=ide", "bus=ahci"], "in the matrix twice: bus"),
        ] {
            assert_eq!(Matrix::parse(axes.clone()).unwrap_err().to_string(), message, "{axes:?}");
        }
        let many: Vec<String> = (0..300).map(|n| n.to_string()).collect();
        assert_eq!(Matrix::parse([&*format!("kernel={}", many.join(","))]), Err(MatrixError::Large(300)));
    }
}
