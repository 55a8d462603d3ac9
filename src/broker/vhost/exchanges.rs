//! Creates and deletes exchanges and bindings.

use std::sync::Arc;

use super::creation::Created;
use super::host::Vhost;
use crate::broker::definitions::proposal::Proposal;
use crate::broker::error::BrokerError;
use crate::broker::exchange::{Binding, Exchange};
use crate::broker::queue::Queue;

impl Vhost {
    /// Creates an exchange, unless one of that name exists.
    pub async fn create_exchange(
        &self,
        exchange: Exchange,
    ) -> Result<Created<Arc<Exchange>>, BrokerError> {
        self.create_exchange_with(exchange, Proposal::none()).await
    }

    /// As [`Vhost::create_exchange`]; commits `also` in the same batch, but not if the exchange exists.
    pub async fn create_exchange_with(
        &self,
        exchange: Exchange,
        also: Proposal,
    ) -> Result<Created<Arc<Exchange>>, BrokerError> {
        let (proposal, created) = self.propose(|view| view.create_exchange(&exchange)).await?;
        let proposal = match &created {
            Created::New(_) => proposal.and(also),
            Created::Existing(_) => proposal,
        };
        proposal.commit(&self.shared.committer).await?;
        Ok(created)
    }

    /// Deletes an exchange with its bindings, and auto-delete exchanges that lose their last binding by it; with
    /// `if_unused` only if nothing is bound to it. No error without such an exchange.
    pub async fn delete_exchange(&self, name: &str, if_unused: bool) -> Result<(), BrokerError> {
        self.delete_exchange_with(name, if_unused, Proposal::none())
            .await
    }

    /// As [`Vhost::delete_exchange`]; commits `also` in the same batch.
    pub async fn delete_exchange_with(
        &self,
        name: &str,
        if_unused: bool,
        also: Proposal,
    ) -> Result<(), BrokerError> {
        let (proposal, ()) = self
            .propose(|view| view.delete_exchange(name, if_unused))
            .await?;
        let proposal = proposal.and(also);
        Ok(proposal.commit(&self.shared.committer).await?)
    }

    /// Makes a binding, unless it exists. `check` may refuse a destination queue; as in RabbitMQ, it comes last.
    pub async fn bind(
        &self,
        binding: Binding,
        check: impl Fn(&Arc<Queue>) -> Result<(), BrokerError>,
    ) -> Result<(), BrokerError> {
        self.change(|view| view.bind(&binding, &check)).await
    }

    /// Removes a binding, and auto-delete exchanges that lose their last one by it. No error without such a binding.
    /// `check` may refuse a destination queue.
    pub async fn unbind(
        &self,
        binding: &Binding,
        check: impl Fn(&Arc<Queue>) -> Result<(), BrokerError>,
    ) -> Result<(), BrokerError> {
        self.change(|view| view.unbind(binding, &check)).await
    }

    /// Makes and removes bindings, all together. Existing ones of `bind` and missing ones of `unbind` are no errors.
    pub async fn rebind(
        &self,
        bind: Vec<Binding>,
        unbind: Vec<Binding>,
    ) -> Result<(), BrokerError> {
        self.rebind_with(bind, unbind, Proposal::none()).await
    }

    /// As [`Vhost::rebind`]; commits `also` in the same batch.
    pub async fn rebind_with(
        &self,
        bind: Vec<Binding>,
        unbind: Vec<Binding>,
        also: Proposal,
    ) -> Result<(), BrokerError> {
        let (proposal, ()) = self.propose(|view| view.rebind(&bind, &unbind)).await?;
        let proposal = proposal.and(also);
        Ok(proposal.commit(&self.shared.committer).await?)
    }
}
