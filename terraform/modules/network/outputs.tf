output "vpc_id" {
  description = "The VPC."
  value       = module.vpc.vpc_id
}

output "private_subnet_ids" {
  description = "Subnets of the nodes and pods, one for each zone."
  value       = module.vpc.private_subnets
}

output "control_plane_subnet_ids" {
  description = "Subnets of the control plane's interfaces, one for each zone, without a way out."
  value       = module.vpc.intra_subnets
}

output "cidr" {
  description = "Address range of the VPC."
  value       = var.cidr
}
