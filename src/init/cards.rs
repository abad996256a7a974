//! Cards beside the first: each gets the one address that the host gave it, and nothing that its network says.

use super::failure::{Doing, Failure};
use super::interface::{Interface, Interfaces, ethernet};
use super::interface6::ignore_advertisements;
use super::log;
use crate::guest::network::Card;

/// Configures all of them. A machine without one of them would look for its neighbours in vain.
///
/// # Errors
/// A card that is not there, or does not take its address.
pub fn configure(cards: &[Card]) -> Result<(), Failure> {
    if cards.is_empty() {
        return Ok(());
    }
    let (interfaces, found) = (Interfaces::open().doing("open a socket for the network cards")?, ethernet());
    for card in cards {
        let interface = of(card, &found)?;
        ignore_advertisements(interface);
        interfaces.up(&interface.name).doing(format!("bring up {}", interface.name))?;
        let set = interfaces.set_address(&interface.name, card.address, card.prefix);
        set.doing(format!("set the address {} of {}", card.address, interface.name))?;
        log::info(format!("{} has {}/{}", interface.name, card.address, card.prefix));
    }
    Ok(())
}

fn of<'a>(card: &Card, found: &'a [Interface]) -> Result<&'a Interface, Failure> {
    let interface = found.iter().find(|interface| interface.mac == card.mac);
    interface.ok_or_else(|| Failure::machine(format!("the network card for {} is missing", card.address)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_found_by_its_ethernet_address_alone() {
        let interface = |name: &str, last, index| Interface { name: name.into(), mac: [2, 0, 0, 0, 0, last], index };
        let found = [interface("eth1", 1, 2), interface("eth0", 7, 3)];
        let card = |last| Card { mac: [2, 0, 0, 0, 0, last], address: [10, 113, 0, 1].into(), prefix: 24 };
        assert_eq!(of(&card(7), &found).map(|interface| &*interface.name), Ok("eth0"));
        let failure = of(&card(8), &found).unwrap_err();
        assert_eq!((failure.status, &*failure.reason), (125, "the network card for 10.113.0.1 is missing"));
    }
}
