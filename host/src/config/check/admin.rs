//! Whether the admin API is accessible only to the operator.

use super::Checker;
use crate::config::sections::Sections;

impl Checker<'_> {
    pub(super) fn admin(&mut self, sections: &Sections<'_>) {
        let Some(admin) = sections.admin.filter(|admin| admin.token.is_none()) else { return };
        if admin.address.ip.is_some_and(|ip| ip.to_canonical().is_loopback()) {
            return;
        }
        let open = self.document.at_value("/admin/address", "the admin API would be open to everybody who reaches it");
        let help = "name a secret in \"token\", or listen on 127.0.0.1";
        self.found.push(open.with_label("not only this machine").with_help(help));
    }
}
